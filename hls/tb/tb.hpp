// Testbench of the engine: plain C++, usable with g++ alone and as the testbench of an HLS tool.
#pragma once

#include <cstdint>
#include <vector>

#include "engine.hpp"

// A buffer large enough for what a simulation of the RTL copies.
inline std::vector<uint64_t> ddr_buffer(uint64_t words) {
    const uint64_t least = (uint64_t)ENGINE_SIMULATED_TRANSFERS * Array::WEIGHT_PORT_WORDS;
    return std::vector<uint64_t>(words > least ? words : least);
}

// Runs a program and returns the steps completed; says so when the digest register is wrong.
uint32_t run_engine(std::vector<uint64_t>& buffer, uint32_t layer_table, uint32_t step_count, uint32_t counters);

// Each returns the number of differences found.
uint32_t test_packed_products();
uint32_t test_packed_chains();
uint32_t test_rounding();
uint32_t test_digest();
uint32_t test_bursts();
uint32_t test_combination();
uint32_t test_lookup();
uint32_t test_waiting();
uint32_t test_requests();
uint32_t test_scratch();
uint32_t test_convolution();
uint32_t test_convolution_on_chip();
uint32_t replay(const char* path);
