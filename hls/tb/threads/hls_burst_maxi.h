// For a testbench that runs every process of the engine as a thread: a port of memory that reads as early and writes as
// late as hardware may. What is asked for is read at once, and what is written lies in memory when it is answered, so
// that a read too early and a completion too early both show. It stands in for an HLS tool's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <vector>

namespace hls {

template <typename T>
class burst_maxi {
  public:
    burst_maxi(T* memory) : memory_(memory) {}
    ~burst_maxi() {
        if (!words_.empty() || !bursts_.empty()) {
            std::abort(); // a real port would hang here, or in the next run
        }
    }

    void read_request(std::size_t offset, uint32_t length) {
        check(offset, length);
        for (uint32_t i = 0; i < length; ++i) {
            words_.push_back(memory_[offset + i]);
        }
    }
    T read() {
        if (words_.empty()) {
            std::abort();
        }
        const T word = words_.front();
        words_.pop_front();
        return word;
    }

    void write_request(std::size_t offset, uint32_t length) {
        check(offset, length);
        bursts_.push_back(Burst{offset, length, {}});
        if (bursts_.size() > OUTSTANDING) {
            std::abort();
        }
    }
    void write(const T& value) {
        for (Burst& burst : bursts_) {
            if (burst.words.size() < burst.length) {
                burst.words.push_back(value);
                return;
            }
        }
        std::abort();
    }
    void write_response() {
        if (bursts_.empty() || bursts_.front().words.size() < bursts_.front().length) {
            std::abort();
        }
        const Burst& burst = bursts_.front();
        for (std::size_t i = 0; i < burst.words.size(); ++i) {
            memory_[burst.offset + i] = burst.words[i];
        }
        bursts_.pop_front();
    }

  private:
    static constexpr std::size_t OUTSTANDING = 8;

    struct Burst {
        std::size_t offset;
        uint32_t length;
        std::vector<T> words;
    };

    static void check(std::size_t offset, uint32_t length) {
        constexpr std::size_t page = 4096 / sizeof(T);
        if (length == 0 || length > 64 || offset % page + length > page) {
            std::abort();
        }
    }

    T* memory_;
    std::deque<T> words_;
    std::deque<Burst> bursts_;
};

} // namespace hls
