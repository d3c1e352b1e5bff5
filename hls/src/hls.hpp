// The only file that knows an HLS compiler: pragmas, and the types of channels, ports and odd widths. On a host the
// pragmas are nothing, and the types are those of hls/host.
//
// HLS_TARGET chooses the form that is synthesised: every process runs the whole program, all at the same time. Without
// it the same steps run one after the other (host_steps.hpp), which is also what an HLS tool's C simulation compiles.
#pragma once

#include <cstdint>

#if defined(__SYNTHESIS__) && !defined(HLS_TARGET)
#define HLS_TARGET 1
#endif

#if defined(HLS_TARGET)
#include <ap_int.h>
#include <hls_burst_maxi.h>
#include <hls_stream.h>
#include <hls_streamofblocks.h>
template <typename T>
using stream = hls::stream<T>;
// Blocks that are handed over whole: two of them, so that one is written while the other is read.
template <typename Block>
using block_stream = hls::stream_of_blocks<Block, 2>;
template <typename Block>
using write_block = hls::write_lock<Block>;
template <typename Block>
using read_block = hls::read_lock<Block>;
// A port of memory, and `words` 64-bit words as it moves them at once.
template <typename T>
using memory_port = hls::burst_maxi<T>;
template <uint32_t words>
using wide_word = ap_uint<64 * words>;
template <typename Wide>
uint64_t word_of(const Wide& wide, uint32_t number) {
    return Wide(wide >> (64 * number)).to_uint64();
}
// A signed number of `width` bits.
template <uint32_t width>
using signed_bits = ap_int<width>;
#define HLS_TEXT(text) _Pragma(#text)
#define HLS_STEP
#else
#include "host_bits.hpp"
#include "host_port.hpp"
#include "host_stream.hpp"
#define HLS_TEXT(text)
// A step of a process. Inlined, all processes would be one function, which a host's compiler makes a tenth slower.
#define HLS_STEP __attribute__((noinline))
#endif

// A macro's arguments are expanded before HLS_TEXT makes a string of them: generated numbers arrive as literals.
#define HLS_PRAGMA(...) HLS_TEXT(__VA_ARGS__)

// Loops: initiation interval; complete unrolling; bounds of the trip count (and a typical one, for the report). The
// style is stated because its default differs between releases. HLS_PIPELINE stalls as a whole (`stp`), the only style
// for ports of memory. HLS_PIPELINE_FREE runs on while it waits (`frp`): no stall net to all its registers.
#define HLS_PIPELINE(ii) HLS_PRAGMA(HLS pipeline II = ii style = stp)
#define HLS_PIPELINE_FREE(ii) HLS_PRAGMA(HLS pipeline II = ii style = frp)
#define HLS_UNROLL HLS_PRAGMA(HLS unroll)
#define HLS_TRIPCOUNT(low, high, usual) HLS_PRAGMA(HLS loop_tripcount min = low max = high avg = usual)
// The same element is touched again after this many iterations at the earliest.
#define HLS_DISTANCE(name, iterations) \
    HLS_PRAGMA(HLS dependence variable = name type = inter direction = RAW distance = iterations dependent = true)
// No iteration reads what one close before it wrote; why is said where it stands.
#define HLS_INDEPENDENT(name) HLS_PRAGMA(HLS dependence variable = name type = inter direction = RAW dependent = false)

// Functions. Processes of a region start together; none waits for the start of another, since channels lead both ways.
#define HLS_DATAFLOW HLS_PRAGMA(HLS dataflow disable_start_propagation)
#define HLS_INLINE HLS_PRAGMA(HLS inline)
#define HLS_NOINLINE HLS_PRAGMA(HLS inline off)
// An argument of a region that stays as it is while the region runs, or (a clock) of which any moment's value will do:
// nothing waits for all processes to have read it.
#define HLS_STABLE(name) HLS_PRAGMA(HLS stable variable = name)

// Storage. Every element of dimension `axis` becomes a memory (or register) of its own.
#define HLS_PARTITION(name, axis) HLS_PRAGMA(HLS array_partition variable = name type = complete dim = axis)
#define HLS_RAM_2READ(name) HLS_PRAGMA(HLS bind_storage variable = name type = ram_t2p impl = bram)
#define HLS_RAM_READ_WRITE(name) HLS_PRAGMA(HLS bind_storage variable = name type = ram_s2p impl = bram)
#define HLS_RAM_SMALL(name) HLS_PRAGMA(HLS bind_storage variable = name type = ram_s2p impl = lutram)
#define HLS_FIFO_BRAM(name, words) \
    HLS_PRAGMA(HLS stream variable = name depth = words) HLS_PRAGMA(HLS bind_storage variable = name type = fifo impl = bram)
#define HLS_FIFO(name, words) \
    HLS_PRAGMA(HLS stream variable = name depth = words) HLS_PRAGMA(HLS bind_storage variable = name type = fifo impl = srl)

// A multiplication that is not worth a DSP: address arithmetic, once per burst or step.
#define HLS_FABRIC_MULTIPLY(name) HLS_PRAGMA(HLS bind_op variable = name op = mul impl = fabric)
#define HLS_DSP_MULTIPLY(name) HLS_PRAGMA(HLS bind_op variable = name op = mul impl = dsp)

// Interfaces. `words` is what a simulation of the RTL copies of the memory behind a port.
#define HLS_AXI_READ(name, bus, words) \
    HLS_PRAGMA(HLS interface mode = m_axi port = name bundle = bus offset = slave depth = words num_read_outstanding = 8 max_read_burst_length = 64)
#define HLS_AXI_WRITE(name, bus, words) \
    HLS_PRAGMA(HLS interface mode = m_axi port = name bundle = bus offset = slave depth = words num_write_outstanding = 8 max_write_burst_length = 64)
#define HLS_AXI_LITE(name, address) \
    HLS_PRAGMA(HLS interface mode = s_axilite port = name bundle = control offset = address)
#define HLS_AXI_CONTROL HLS_PRAGMA(HLS interface mode = s_axilite port = return bundle = control)
#define HLS_WIRE(name) HLS_PRAGMA(HLS interface mode = ap_none port = name)
