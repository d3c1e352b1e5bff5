// Host stand-in for hls::stream. Processes run one after the other here, so a stream simply grows.
// Not synthesised. Reading an empty stream, or leaving words in one, would hang hardware: both are counted as faults.
#pragma once

#include <cstdint>
#include <vector>

inline thread_local uint32_t host_stream_faults = 0;

template <typename T>
class stream {
  public:
    stream() = default;
    stream(const stream&) = delete;
    stream& operator=(const stream&) = delete;

    ~stream() { host_stream_faults += head_ != items_.size(); }

    void write(const T& item) { items_.push_back(item); }

    T read() {
        if (head_ == items_.size()) {
            ++host_stream_faults;
            return T{};
        }
        const T item = items_[head_++];
        if (head_ == items_.size()) {
            items_.clear();
            head_ = 0;
        }
        return item;
    }

  private:
    std::vector<T> items_;
    std::size_t head_ = 0;
};
