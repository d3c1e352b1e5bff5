// Without arguments: the self-tests. With a path: replays a case that the toolchain exported.
#include <cstdio>

#include "tb.hpp"

uint32_t run_engine(std::vector<uint64_t>& buffer, uint32_t layer_table, uint32_t step_count, uint32_t counters) {
    const uint32_t clock = 0;
    uint32_t digest = 0, completed = 0;
    engine(buffer.data(), reinterpret_cast<WeightBeat<Array>*>(buffer.data()), buffer.data(), buffer.data(),
           buffer.data(), layer_table, step_count, counters, &digest, &completed, &clock, &clock);
    if (digest != Array::DIGEST) {
        std::printf("digest register: %08x, expected %08x\n", digest, Array::DIGEST);
    }
    return completed;
}

uint32_t test_digest() {
    std::vector<uint64_t> buffer = ddr_buffer(16);
    const uint32_t clock = 0;
    uint32_t digest = 0, completed = 99;
    engine(buffer.data(), reinterpret_cast<WeightBeat<Array>*>(buffer.data()), buffer.data(), buffer.data(),
           buffer.data(), 0, 0, 0, &digest, &completed, &clock, &clock);
    return (digest != Array::DIGEST) + (completed != 0);
}

static uint32_t report(const char* name, uint32_t differences) {
    std::printf("%-16s %s (%u differences)\n", name, differences == 0 ? "ok" : "FAILED", differences);
    return differences;
}

int main(int count, char** arguments) {
    uint32_t differences = 0;
    if (count > 1) {
        differences += report("replay", replay(arguments[1]));
    } else {
        differences += report("digest", test_digest());
        differences += report("packed products", test_packed_products());
        differences += report("packed chains", test_packed_chains());
        differences += report("rounding", test_rounding());
        differences += report("bursts", test_bursts());
        differences += report("combination", test_combination());
        differences += report("lookup", test_lookup());
        differences += report("waiting", test_waiting());
        differences += report("requests", test_requests());
        differences += report("own memory", test_scratch());
        differences += report("convolution", test_convolution());
        differences += report("two layers", test_convolution_on_chip());
    }
#if !defined(HLS_TARGET)
    // Streams that ran dry or kept words, requests that a port would not take.
    differences += report("queues and ports", host_stream_faults());
#endif
    return differences == 0 ? 0 : 1;
}
