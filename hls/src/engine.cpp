// The engine: walks the layers of a program in DDR.
#include "engine.hpp"

#include "layer.hpp"

#if defined(HLS_TARGET) || defined(PROPRUNE_PACKED_DOT)
using Dot = PackedDot<Array>;
#else
#include "host_dot.hpp"
using Dot = PlainDot<Array>;
#endif

// The lane patterns of a layer, four 16-bit offsets to a word.
static void read_patterns(const uint64_t* descriptors, uint32_t table, uint32_t count,
                          uint16_t patterns[Array::MAX_PATTERNS][Array::IC]) {
    HLS_NOINLINE
entries:
    for (uint32_t p = 0; p < count; ++p) {
        HLS_TRIPCOUNT(1, ARRAY_MAX_PATTERNS, 4)
    words:
        for (uint32_t k = 0; k < Array::PATTERN_WORDS; ++k) {
            HLS_PIPELINE(1)
            HLS_TRIPCOUNT(ARRAY_PATTERN_WORDS, ARRAY_PATTERN_WORDS, ARRAY_PATTERN_WORDS)
            const uint64_t word = descriptors[table + p * Array::PATTERN_WORDS + k];
        quarters:
            for (uint32_t q = 0; q < 4; ++q) {
                HLS_UNROLL
                patterns[p & (Array::MAX_PATTERNS - 1)][k * 4 + q] = (uint16_t)(word >> (16 * q));
            }
        }
    }
}

extern "C" void engine(const uint64_t* features, const WeightBeat<Array>* weights, const uint64_t* residual,
                       const uint64_t* descriptors, uint64_t* results, uint32_t layer_table, uint32_t layer_count,
                       uint32_t counters, uint32_t* digest, uint32_t* completed, volatile const uint32_t* clock_layer,
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
    HLS_AXI_LITE(layer_count, REGISTER_LAYER_COUNT)
    HLS_AXI_LITE(counters, REGISTER_COUNTERS)
    HLS_AXI_LITE(digest, REGISTER_DIGEST)
    HLS_AXI_LITE(completed, REGISTER_COMPLETED)
    HLS_AXI_CONTROL
    HLS_WIRE(clock_layer)
    HLS_WIRE(clock_accumulate)

    uint16_t patterns[Array::MAX_PATTERNS][Array::IC];
    HLS_PARTITION(patterns, 2)
    HLS_RAM_SMALL(patterns)
    uint64_t table_before[isa::GROUP][TABLE_WORDS];
    HLS_PARTITION(table_before, 1)
    HLS_RAM_SMALL(table_before)
    uint64_t table_after[isa::GROUP][TABLE_WORDS];
    HLS_PARTITION(table_after, 1)
    HLS_RAM_SMALL(table_after)

    *digest = Array::DIGEST;
    *completed = 0;
layers:
    for (uint32_t n = 0; n < layer_count; ++n) {
        HLS_TRIPCOUNT(0, 1024, 24)
        const uint32_t started = *clock_layer;
        isa::LayerDescriptor layer;
        HLS_PARTITION(layer.word, 1)
    read_layer:
        for (uint32_t i = 0; i < isa::LayerDescriptor::WORDS; ++i) {
            HLS_PIPELINE(1)
            HLS_TRIPCOUNT(12, 12, 12)
            layer.word[i] = descriptors[layer_table + n * isa::LayerDescriptor::WORDS + i];
        }
        read_patterns(descriptors, layer.pattern_table(), layer.pattern_count(), patterns);
        if (layer.lookup() != isa::Lookup::NONE) {
            read_table(descriptors, layer.lookup_table(), table_before, table_after);
        }

        Totals totals{};
        run_steps<Array, Dot>(features, weights, residual, descriptors, results, layer, layer.step_count(), patterns,
                              table_before, table_after, clock_accumulate, totals);

        isa::LayerCounters counts{};
        HLS_PARTITION(counts.word, 1)
        counts.set_cycles(*clock_layer - started);
        counts.set_accumulate_span(totals.span);
        counts.set_iterations(totals.iterations);
        counts.set_taps(totals.taps);
        counts.set_fetch_words(totals.fetch_words);
        counts.set_weight_words(totals.weight_words);
        counts.set_residual_words(totals.residual_words);
        counts.set_store_words(totals.store_words);
    write_counters:
        for (uint32_t i = 0; i < isa::LayerCounters::WORDS; ++i) {
            HLS_PIPELINE(1)
            HLS_TRIPCOUNT(4, 4, 4)
            results[counters + n * isa::LayerCounters::WORDS + i] = counts.word[i];
        }
        *completed = n + 1;
    }
}
