// Host stand-in for hls::burst_maxi: requests, and then as many words as they asked for, in the same order.
// What would hang a real port or be cut by it is counted as a fault, as for streams. In an HLS tool's C simulation the
// tool's own class takes its place, since the arguments of the top function must be of that type.
#pragma once

#include <cstddef>
#include <cstdint>

#include "host_stream.hpp"

#if defined(__has_include)
#if __has_include(<hls_burst_maxi.h>)
#define HOST_HAS_VENDOR_PORT 1
#endif
#endif

#if defined(HOST_HAS_VENDOR_PORT)
#include <hls_burst_maxi.h>
template <typename T>
using memory_port = hls::burst_maxi<T>;
template <typename T>
uint32_t host_left_over(const memory_port<T>&) {
    return 0; // the tool's own class sees to it
}
#else
template <typename T>
class memory_port {
  public:
    memory_port(T* memory) : memory_(memory) {}

    void read_request(std::size_t offset, uint32_t length) { reads_.add(offset, length); }
    T read() { return memory_[reads_.next()]; }

    void write_request(std::size_t offset, uint32_t length) {
        writes_.add(offset, length);
        ++unanswered_;
        host_stream_faults() += unanswered_ > OUTSTANDING;
    }
    void write(const T& value) { memory_[writes_.next()] = value; }
    // As many as there were requests; all words of the oldest must be written.
    void write_response() {
        host_stream_faults() += unanswered_ == 0 || unanswered_ <= writes_.open();
        unanswered_ -= unanswered_ > 0;
    }

    // Words asked for and not taken, words promised and not written, responses not awaited.
    uint32_t left_over() const { return reads_.open() + writes_.open() + unanswered_; }

  private:
    static constexpr uint32_t OUTSTANDING = 8; // as in HLS_AXI_READ and HLS_AXI_WRITE
    static constexpr uint32_t BEATS = 64;
    static constexpr uint32_t PAGE = 4096 / sizeof(T);

    class Requests {
      public:
        void add(std::size_t offset, uint32_t length) {
            // The host's buffer begins anywhere; a page is counted from its start, as on a board, where it is aligned.
            const bool cut = length > BEATS || offset % PAGE + length > PAGE;
            host_stream_faults() += cut || length == 0 || count_ == OUTSTANDING;
            if (length == 0 || count_ == OUTSTANDING) {
                return;
            }
            const uint32_t slot = (first_ + count_++) % OUTSTANDING;
            at_[slot] = offset;
            left_[slot] = length;
        }

        std::size_t next() {
            if (count_ == 0) {
                ++host_stream_faults();
                return 0;
            }
            const std::size_t at = at_[first_]++;
            if (--left_[first_] == 0) {
                first_ = (first_ + 1) % OUTSTANDING;
                --count_;
            }
            return at;
        }

        uint32_t open() const { return count_; }

      private:
        std::size_t at_[OUTSTANDING];
        uint32_t left_[OUTSTANDING];
        uint32_t first_ = 0, count_ = 0;
    };

    T* memory_;
    Requests reads_, writes_;
    uint32_t unanswered_ = 0;
};

template <typename T>
uint32_t host_left_over(const memory_port<T>& port) {
    return port.left_over();
}
#endif
