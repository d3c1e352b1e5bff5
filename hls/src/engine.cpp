// The engine: runs the steps of a program in DDR.
#include "engine.hpp"

#if defined(HLS_TARGET)
#include "steps.hpp"
#else
#include "host_steps.hpp"
#endif
#if defined(HLS_TARGET) || defined(PROPRUNE_PACKED_DOT)
#include "dot.hpp"
using Dot = PackedDot<Array>;
#else
#include "host_dot.hpp"
using Dot = PlainDot<Array>;
#endif

extern "C" void engine(memory_port<uint64_t> features, memory_port<WeightBeat<Array>> weights,
                       memory_port<uint64_t> residual, memory_port<uint64_t> descriptors,
                       memory_port<uint64_t> results, uint32_t layer_table, uint32_t step_count, uint32_t counters,
                       uint32_t* digest, uint32_t* completed, volatile const uint32_t* clock_layer,
                       volatile const uint32_t* clock_accumulate) {
    HLS_AXI_READ(features, gmem_x, ENGINE_SIMULATED_TRANSFERS)
    HLS_AXI_READ(weights, gmem_w, ENGINE_SIMULATED_TRANSFERS)
    HLS_AXI_READ(residual, gmem_r, ENGINE_SIMULATED_TRANSFERS)
    HLS_AXI_READ(descriptors, gmem_d, ENGINE_SIMULATED_TRANSFERS)
    HLS_AXI_WRITE(results, gmem_y, ENGINE_SIMULATED_TRANSFERS)
    HLS_AXI_LITE(features, REGISTER_FEATURES)
    HLS_AXI_LITE(weights, REGISTER_WEIGHTS)
    HLS_AXI_LITE(residual, REGISTER_RESIDUAL)
    HLS_AXI_LITE(descriptors, REGISTER_DESCRIPTORS)
    HLS_AXI_LITE(results, REGISTER_RESULTS)
    HLS_AXI_LITE(layer_table, REGISTER_LAYER_TABLE)
    HLS_AXI_LITE(step_count, REGISTER_STEP_COUNT)
    HLS_AXI_LITE(counters, REGISTER_COUNTERS)
    HLS_AXI_LITE(digest, REGISTER_DIGEST)
    HLS_AXI_LITE(completed, REGISTER_COMPLETED)
    HLS_AXI_CONTROL
    HLS_WIRE(clock_layer)
    HLS_WIRE(clock_accumulate)

    *digest = Array::DIGEST;
    *completed = 0;
    // Every process of a run takes at least one job.
    if (step_count != 0) {
        run_steps<Array, Dot>(features, weights, residual, descriptors, results, layer_table, counters, step_count,
                              clock_layer, clock_accumulate, completed);
    }
}
