// For a testbench that runs every process of the engine as a thread: streams that block, and fill at the depth that the
// source gives them. They stand in for an HLS tool's.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <thread>

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

    // Who asks again and again leaves the processor to others in between.
    bool empty() {
        std::unique_lock<std::mutex> lock(mutex_);
        if (!items_.empty()) {
            return false;
        }
        lock.unlock();
        std::this_thread::sleep_for(std::chrono::microseconds(20));
        return true;
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<T> items_;
    std::size_t depth_ = SIZE_MAX;
};

} // namespace hls
