// For a testbench that runs every process of the engine as a thread: blocks that are handed over whole, as many as the
// source says. They stand in for an HLS tool's.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace hls {

template <typename Block, int DEPTH = 2>
class stream_of_blocks {
  public:
    Block& to_write() {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [this] { return written_ - read_ < (uint32_t)DEPTH; });
        return memory_[written_ % DEPTH];
    }
    void hand_over() {
        std::unique_lock<std::mutex> lock(mutex_);
        ++written_;
        changed_.notify_one();
    }
    Block& to_read() {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [this] { return read_ < written_; });
        return memory_[read_ % DEPTH];
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
    Block memory_[DEPTH];
};

template <typename Block>
class write_lock {
  public:
    explicit write_lock(stream_of_blocks<Block>& blocks) : blocks_(blocks), block_(blocks.to_write()) {}
    ~write_lock() { blocks_.hand_over(); }
    decltype(auto) operator[](std::size_t index) { return (block_[index]); }

  private:
    stream_of_blocks<Block>& blocks_;
    Block& block_;
};

template <typename Block>
class read_lock {
  public:
    explicit read_lock(stream_of_blocks<Block>& blocks) : blocks_(blocks), block_(blocks.to_read()) {}
    ~read_lock() { blocks_.give_back(); }
    decltype(auto) operator[](std::size_t index) const { return (static_cast<const Block&>(block_)[index]); }

  private:
    stream_of_blocks<Block>& blocks_;
    Block& block_;
};

} // namespace hls
