// Replays a case that the toolchain exported: a buffer before the run, and a range of it after.
//
// The file holds little-endian 64-bit words: "PPRCASE1", digest, buffer words, layer_table, step_count, counters,
// address and length of the result; then the buffer; then the result.
#include <cstdio>

#include "tb.hpp"

uint32_t replay(const char* path) {
    constexpr uint64_t MAGIC = UINT64_C(0x3145534143525050); // "PPRCASE1"
    std::FILE* file = std::fopen(path, "rb");
    if (file == nullptr) {
        std::printf("cannot open %s\n", path);
        return 1;
    }
    uint64_t head[8];
    bool complete = std::fread(head, sizeof head, 1, file) == 1 && head[0] == MAGIC;
    if (!complete || head[1] != Array::DIGEST || head[2] > (UINT64_C(1) << 32) || head[6] + head[7] > head[2]) {
        std::printf("%s is not a case for this array\n", path);
        std::fclose(file);
        return 1;
    }
    std::vector<uint64_t> buffer = ddr_buffer(head[2]);
    std::vector<uint64_t> expected(head[7]);
    complete = std::fread(buffer.data(), 8, head[2], file) == head[2] &&
               std::fread(expected.data(), 8, head[7], file) == head[7];
    std::fclose(file);
    if (!complete) {
        std::printf("%s is truncated\n", path);
        return 1;
    }
    uint32_t differences = run_engine(buffer, (uint32_t)head[3], (uint32_t)head[4], (uint32_t)head[5]) != head[4];
    for (uint64_t i = 0; i < head[7]; ++i) {
        if (buffer[head[6] + i] != expected[i] && ++differences < 5) {
            std::printf("word %llu: %016llx, expected %016llx\n", (unsigned long long)i,
                        (unsigned long long)buffer[head[6] + i], (unsigned long long)expected[i]);
        }
    }
    return differences;
}
