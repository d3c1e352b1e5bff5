// The engine's top function: its arguments follow the registers of isa.hpp, then come the two clock inputs.
#pragma once

#include "array.hpp"
#include "types.hpp"

// Transfers of memory that a simulation of the RTL copies for each port; a testbench's buffer has at least as many.
#define ENGINE_SIMULATED_TRANSFERS 262144

extern "C" void engine(memory_port<uint64_t> features, memory_port<WeightBeat<Array>> weights,
                       memory_port<uint64_t> residual, memory_port<uint64_t> descriptors,
                       memory_port<uint64_t> results, uint32_t layer_table, uint32_t step_count, uint32_t counters,
                       uint32_t* digest, uint32_t* completed, volatile const uint32_t* clock_layer,
                       volatile const uint32_t* clock_accumulate);
