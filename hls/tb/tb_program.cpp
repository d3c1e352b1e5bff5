// Hand-made programs: a 3x3 convolution of one channel group with padding, one block, one step, against a direct loop;
// and the same twice in a row, where what lies between the layers stays on chip.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>

#include "tb.hpp"

namespace {

constexpr uint32_t HEIGHT = 6, WIDTH = 7, KERNEL = 3, GROUP = isa::GROUP;
constexpr uint32_t COLS = WIDTH + 2, TAPS = KERNEL * KERNEL, PIXELS = HEIGHT * WIDTH;
constexpr uint32_t BEATS = std::max((PIXELS + Array::PX - 1) / Array::PX, Array::MIN_BEATS);

// Word addresses of everything in the buffer.
constexpr uint32_t LAYER = 0;
constexpr uint32_t STEP = LAYER + 2 * isa::LayerDescriptor::WORDS;
constexpr uint32_t PATTERN = STEP + 2 * isa::StepDescriptor::WORDS;
constexpr uint32_t TABLE = PATTERN + Array::PATTERN_WORDS;
constexpr uint32_t WEIGHTS = (TABLE + 2 + 1) / 2 * 2;
constexpr uint32_t WEIGHT_WORDS = Array::BLOCK_WORDS + TAPS * Array::TAP_WORDS;
constexpr uint32_t COUNTERS = WEIGHTS + WEIGHT_WORDS;
constexpr uint32_t INPUT = COUNTERS + 2 * isa::LayerCounters::WORDS;
constexpr uint32_t OUTPUT = INPUT + PIXELS;
constexpr uint32_t END = OUTPUT + PIXELS;
constexpr uint32_t BETWEEN = isa::ON_CHIP | (Array::SCRATCH_WORDS - PIXELS);
constexpr int8_t PAD = 5;

using Planes = int8_t[GROUP][HEIGHT][WIDTH];

struct Data {
    Planes x;
    int8_t w[GROUP][GROUP][KERNEL][KERNEL];
    int32_t bias[GROUP];
    uint16_t multiplier[GROUP];
};

Data make_data() {
    std::mt19937 random(3);
    std::uniform_int_distribution<int32_t> code(-128, 127), weight(-127, 127), bias(-3000, 3000), factor(1, 300);
    Data d;
    for (auto& plane : d.x)
        for (auto& row : plane)
            for (int8_t& v : row) v = (int8_t)code(random);
    for (auto& lane : d.w)
        for (auto& kernel : lane)
            for (auto& row : kernel)
                for (int8_t& v : row) v = (int8_t)weight(random);
    for (int32_t& v : d.bias) v = bias(random);
    for (uint16_t& v : d.multiplier) v = (uint16_t)factor(random);
    return d;
}

int8_t direct(const Data& d, const Planes& x, uint32_t o, int32_t oy, int32_t ox) {
    int64_t sum = d.bias[o];
    for (uint32_t c = 0; c < GROUP; ++c) {
        for (int32_t ky = 0; ky < (int32_t)KERNEL; ++ky) {
            for (int32_t kx = 0; kx < (int32_t)KERNEL; ++kx) {
                const int32_t row = oy + ky - 1, col = ox + kx - 1;
                const bool inside = row >= 0 && row < (int32_t)HEIGHT && col >= 0 && col < (int32_t)WIDTH;
                sum += d.w[o][c][ky][kx] * (inside ? x[c][row][col] : PAD);
            }
        }
    }
    const double q = std::nearbyint((double)sum * d.multiplier[o] / 65536.0);
    return (int8_t)std::max(-128.0, std::min(127.0, q));
}

void convolve(const Data& d, const Planes& x, Planes& y) {
    for (uint32_t o = 0; o < GROUP; ++o)
        for (uint32_t p = 0; p < PIXELS; ++p)
            y[o][p / WIDTH][p % WIDTH] = direct(d, x, o, (int32_t)(p / WIDTH), (int32_t)(p % WIDTH));
}

void put_byte(std::vector<uint64_t>& buffer, uint32_t word, uint32_t byte, int8_t value) {
    buffer[word + byte / 8] |= (uint64_t)(uint8_t)value << (byte % 8 * 8);
}

template <typename Record>
void put(std::vector<uint64_t>& buffer, uint32_t address, const Record& record) {
    std::copy(record.word, record.word + Record::WORDS, buffer.begin() + address);
}

void put_stream(std::vector<uint64_t>& buffer, const Data& d) {
    isa::BlockHeader block{};
    block.set_taps(TAPS);
    block.set_init(true);
    block.set_emit(true);
    block.set_groups(1);
    put(buffer, WEIGHTS, block);
    for (uint32_t o = 0; o < GROUP; ++o) {
        buffer[WEIGHTS + 1 + o / 2] |= (uint64_t)(uint32_t)d.bias[o] << (o % 2 * 32);
        buffer[WEIGHTS + 1 + Array::OC / 2 + o / 4] |= (uint64_t)d.multiplier[o] << (o % 4 * 16);
    }
    for (uint32_t t = 0; t < TAPS; ++t) {
        const uint32_t at = WEIGHTS + Array::BLOCK_WORDS + t * Array::TAP_WORDS;
        isa::TapHeader tap{};
        tap.set_base((uint16_t)(t / KERNEL * COLS + t % KERNEL));
        put(buffer, at, tap);
        // The group fills every part of the lanes; only the first part's lanes have weights.
        for (uint32_t o = 0; o < GROUP; ++o)
            for (uint32_t c = 0; c < GROUP; ++c)
                put_byte(buffer, at + 1, o * Array::IC + c, d.w[o][c][t / KERNEL][t % KERNEL]);
    }
}

// Layer `number`, of one step, from one plane to another.
void put_descriptors(std::vector<uint64_t>& buffer, uint32_t number, uint32_t from, uint32_t to) {
    isa::LayerDescriptor layer{};
    layer.set_pad_value(PAD);
    layer.set_stride_y(1);
    layer.set_stride_x(1);
    layer.set_groups_per_chunk(1);
    layer.set_step_table(STEP + number * isa::StepDescriptor::WORDS);
    layer.set_step_count(1);
    layer.set_in_width(WIDTH);
    layer.set_in_height(HEIGHT);
    layer.set_in_pitch(WIDTH);
    layer.set_group_table(TABLE + number);
    layer.set_pitch(COLS);
    layer.set_chunk_cells((uint16_t)((HEIGHT + 2) * COLS));
    layer.set_pattern_table(PATTERN);
    layer.set_pattern_count(1);
    layer.set_out_base(to);
    layer.set_out_plane(PIXELS);
    layer.set_out_pitch(WIDTH);
    layer.set_out_step_y(1);
    layer.set_out_step_x(1);
    uint64_t select = 0;
    for (uint32_t lane = 0; lane < 16; ++lane) select |= (uint64_t)(lane % GROUP) << (3 * lane);
    layer.set_lane_select_0(select);
    layer.set_lane_select_1(select);
    put(buffer, LAYER + number * isa::LayerDescriptor::WORDS, layer);

    isa::StepDescriptor step{};
    step.set_y0(-1);
    step.set_x0(-1);
    step.set_rows(HEIGHT + 2);
    step.set_cols(COLS);
    step.set_tile_height(HEIGHT);
    step.set_tile_width(WIDTH);
    step.set_groups(1);
    step.set_beats((uint16_t)BEATS);
    step.set_blocks(1);
    step.set_weights(WEIGHTS);
    step.set_weight_words(WEIGHT_WORDS);
    step.set_taps(TAPS);
    step.set_iterations(TAPS * BEATS);
    step.set_emit_blocks(1);
    step.set_emit_groups(1);
    step.set_depends(1);
    put(buffer, STEP + number * isa::StepDescriptor::WORDS, step);
    buffer[TABLE + number] = from;
}

uint32_t compare_output(const std::vector<uint64_t>& buffer, const Planes& want) {
    uint32_t differences = 0;
    for (uint32_t p = 0; p < PIXELS; ++p) {
        for (uint32_t o = 0; o < GROUP; ++o) {
            const int8_t got = (int8_t)(buffer[OUTPUT + p] >> (8 * o));
            if (got != want[o][p / WIDTH][p % WIDTH] && ++differences < 5) {
                std::printf("channel %u, pixel %u: %d, expected %d\n", o, p, got, want[o][p / WIDTH][p % WIDTH]);
            }
        }
    }
    return differences;
}

uint32_t compare_counters(const std::vector<uint64_t>& buffer, uint32_t number) {
    isa::LayerCounters counts{};
    const auto start = buffer.begin() + COUNTERS + number * isa::LayerCounters::WORDS;
    std::copy(start, start + isa::LayerCounters::WORDS, counts.word);
    return counts.iterations() != TAPS * BEATS || counts.taps() != TAPS || counts.fetch_words() != PIXELS ||
           counts.weight_words() != WEIGHT_WORDS || counts.residual_words() != 0 || counts.store_words() != PIXELS;
}

std::vector<uint64_t> make_buffer(const Data& data) {
    std::vector<uint64_t> buffer = ddr_buffer(END);
    put_stream(buffer, data);
    for (uint32_t p = 0; p < PIXELS; ++p)
        for (uint32_t c = 0; c < GROUP; ++c) put_byte(buffer, INPUT + p, c, data.x[c][p / WIDTH][p % WIDTH]);
    return buffer;
}

} // namespace

uint32_t test_convolution() {
    const Data data = make_data();
    std::vector<uint64_t> buffer = make_buffer(data);
    put_descriptors(buffer, 0, INPUT, OUTPUT);
    Planes want;
    convolve(data, data.x, want);
    uint32_t differences = run_engine(buffer, LAYER, 1, COUNTERS) != 1;
    differences += compare_output(buffer, want);
    differences += compare_counters(buffer, 0);
    return differences;
}

uint32_t test_convolution_on_chip() {
    const Data data = make_data();
    std::vector<uint64_t> buffer = make_buffer(data);
    put_descriptors(buffer, 0, INPUT, BETWEEN);
    put_descriptors(buffer, 1, BETWEEN, OUTPUT);
    Planes between, want;
    convolve(data, data.x, between);
    convolve(data, between, want);
    uint32_t differences = run_engine(buffer, LAYER, 2, COUNTERS) != 2;
    differences += compare_output(buffer, want);
    differences += compare_counters(buffer, 0) + compare_counters(buffer, 1);
    return differences;
}
