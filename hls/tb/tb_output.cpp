// Where output words go and in how many bursts, what is done with the residual operand, and the lookup table.
#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "output/combine.hpp"
#include "read_step.hpp"
#include "tb.hpp"

// Every small rectangle: the words in order, and no more runs than rows, one where rows follow each other.
uint32_t test_bursts() {
    uint32_t differences = 0;
    for (uint32_t n = 0; n < 6 * 6 * 6 * 6 * 9 * 3; ++n) {
        const uint32_t rows = n % 6, cols = n / 6 % 6, row0 = n / 36 % 6, col0 = n / 216 % 6;
        const uint32_t pitch = n / 1296 % 9, step = 1 + n / 11664;
        const Bursts b = bursts_of((uint16_t)row0, (uint16_t)rows, (uint16_t)col0, (uint16_t)cols, pitch, (uint8_t)step);
        std::vector<uint32_t> want, got;
        for (uint32_t y = 0; y < rows; ++y)
            for (uint32_t x = 0; x < cols; ++x) want.push_back((row0 + y) * pitch + (col0 + x) * step);
        for (uint32_t run = 0; run < b.runs; ++run)
            for (uint32_t i = 0; i < b.length; ++i) got.push_back(b.offset + run * b.pitch + i * step);
        const uint32_t runs = want.empty() ? 0 : step == 1 && cols == pitch ? 1 : rows;
        differences += got != want || b.runs != runs;
    }
    return differences;
}

// All pairs of codes with every right shift and a choice of left shifts, against nearbyint.
uint32_t test_combination() {
    uint32_t differences = 0;
    std::mt19937 random(4);
    std::uniform_int_distribution<uint32_t> shift(0, 15);
    for (uint32_t n = 0; n < 96; ++n) {
        CombineJob job{};
        job.combine = n % 3 == 0 ? isa::Combine::MULTIPLY : isa::Combine::ADD;
        job.subtract = n % 3 == 1;
        job.shift_a = n < 3 ? 15 : (uint8_t)(shift(random) / (n % 5 + 1));
        job.shift_b = n < 3 ? 15 : (uint8_t)(shift(random) / (n % 5 + 1));
        job.shift_y = (uint8_t)(n / 3 % 16);
        for (int32_t q = -128; q < 128; ++q) {
            for (int32_t r = -128; r < 128; ++r) {
                const double a = std::ldexp(q, job.shift_a), b = std::ldexp(r, job.shift_b);
                const double exact = n % 3 == 0 ? a * r : n % 3 == 1 ? a - b : a + b;
                const double rounded = std::nearbyint(std::ldexp(exact, -job.shift_y));
                const double want = std::max(-128.0, std::min(127.0, rounded));
                differences += combine_codes((int8_t)q, (int8_t)r, job) != (int8_t)want;
            }
        }
    }
    return differences;
}

// Entries lie byte by byte; every copy has them all.
uint32_t test_lookup() {
    uint64_t table[isa::GROUP][TABLE_WORDS];
    uint64_t memory[3 + TABLE_WORDS] = {};
    for (uint32_t n = 0; n < 256; ++n) memory[3 + n / 8] |= (uint64_t)((n * 167 + 13) % 256) << (n % 8 * 8);
    stream<uint64_t> words;
    memory_port<uint64_t> port(memory);
    pass_on(port, 3, TABLE_WORDS, words);
    receive_table(words, table);
    uint32_t differences = 0;
    for (int32_t q = -128; q < 128; ++q) {
        const uint32_t entry = (uint32_t)(q + 256) % 256;
        const int8_t want = (int8_t)((entry * 167 + 13) % 256);
        for (uint32_t k = 0; k < isa::GROUP; ++k) {
            differences += look_up(table[k], (int8_t)q) != want;
        }
    }
    return differences;
}
