// For a testbench that runs every process of the engine as a thread: streams that block, and fill at the depth that the
// source gives them, and memories that are handed over at the end of their writer. They stand in for an HLS tool's.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>

namespace hls {

template <typename T>
class stream {
  public:
    void set_depth(std::size_t depth) { depth_ = depth; }

    void write(const T& item) {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [this] { return items_.size() < depth_; });
        items_.push_back(item);
        changed_.notify_one();
    }

    T read() {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [this] { return !items_.empty(); });
        const T item = items_.front();
        items_.pop_front();
        changed_.notify_one();
        return item;
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<T> items_;
    std::size_t depth_ = SIZE_MAX;
};

// Two memories: one is written while the other is read.
template <typename T>
class ping_pong {
  public:
    T& to_write() {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [this] { return written_ - read_ < 2; });
        return memory_[written_ % 2];
    }

    void hand_over() {
        std::unique_lock<std::mutex> lock(mutex_);
        ++written_;
        changed_.notify_one();
    }

    T& to_read() {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [this] { return read_ < written_; });
        return memory_[read_ % 2];
    }

    void give_back() {
        std::unique_lock<std::mutex> lock(mutex_);
        ++read_;
        changed_.notify_one();
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    uint32_t written_ = 0, read_ = 0;
    T memory_[2];
};

} // namespace hls
