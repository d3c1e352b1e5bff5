// The only file that knows an HLS compiler: pragmas and the stream type. On a host the pragmas are nothing.
#pragma once

#include <cstdint>

#if defined(__SYNTHESIS__) || defined(__VITIS_HLS__)
#define HLS_TARGET 1
#include <hls_stream.h>
template <typename T>
using stream = hls::stream<T>;
#define HLS_TEXT(text) _Pragma(#text)
#define HLS_HOST_MAY_STOP
#else
#include "host_deadline.hpp"
#include "host_stream.hpp"
#define HLS_TEXT(text)
// In a loop: on a host, its end where the time that the host allows is over.
#define HLS_HOST_MAY_STOP if (host_is_late()) { break; }
#endif

// A macro's arguments are expanded before HLS_TEXT makes a string of them: generated numbers arrive as literals.
#define HLS_PRAGMA(...) HLS_TEXT(__VA_ARGS__)

// Loops: initiation interval; complete unrolling; bounds of the trip count (and a typical one, for the report).
#define HLS_PIPELINE(ii) HLS_PRAGMA(HLS pipeline II = ii)
#define HLS_UNROLL HLS_PRAGMA(HLS unroll)
#define HLS_TRIPCOUNT(low, high, usual) HLS_PRAGMA(HLS loop_tripcount min = low max = high avg = usual)
// The same element is touched again after this many iterations at the earliest.
#define HLS_DISTANCE(name, iterations) \
    HLS_PRAGMA(HLS dependence variable = name type = inter direction = RAW distance = iterations dependent = true)

// Functions. A variable that outlives a call is set back to its initial value with the engine only where it says so.
#define HLS_DATAFLOW HLS_PRAGMA(HLS dataflow)
#define HLS_INLINE HLS_PRAGMA(HLS inline)
#define HLS_NOINLINE HLS_PRAGMA(HLS inline off)
#define HLS_RESET(name) HLS_PRAGMA(HLS reset variable = name)

// Storage. Every element of dimension `axis` becomes a memory (or register) of its own.
#define HLS_PARTITION(name, axis) HLS_PRAGMA(HLS array_partition variable = name type = complete dim = axis)
#define HLS_RAM_2READ(name) HLS_PRAGMA(HLS bind_storage variable = name type = ram_t2p impl = bram)
#define HLS_RAM_READ_WRITE(name) HLS_PRAGMA(HLS bind_storage variable = name type = ram_s2p impl = bram)
#define HLS_RAM_SMALL(name) HLS_PRAGMA(HLS bind_storage variable = name type = ram_s2p impl = lutram)
#define HLS_FIFO_BRAM(name, words) \
    HLS_PRAGMA(HLS stream variable = name depth = words) HLS_PRAGMA(HLS bind_storage variable = name type = fifo impl = bram)
#define HLS_FIFO(name, words) \
    HLS_PRAGMA(HLS stream variable = name depth = words) HLS_PRAGMA(HLS bind_storage variable = name type = fifo impl = srl)
// A memory that one process writes and another reads while both run; what keeps them in order is in the source.
#define HLS_SHARED(name) HLS_PRAGMA(HLS stream variable = name type = unsync)
// A memory that is handed to its reader when its writer has ended, and not before.
#define HLS_HANDED_OVER(name) \
    HLS_PRAGMA(HLS stream variable = name type = pipo) HLS_PRAGMA(HLS bind_storage variable = name type = ram_s2p impl = lutram)

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
