// Host stand-ins for hls::stream and hls::stream_of_blocks. Processes run one after the other here, so a stream simply
// grows, and one block is enough. Not synthesised.
// Reading an empty stream, or leaving words in one, would hang hardware: both are counted as faults.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

inline uint32_t& host_stream_faults() {
    static thread_local uint32_t faults = 0;
    return faults;
}

template <typename T>
class stream {
  public:
    stream() = default;
    stream(const stream&) = delete;
    stream& operator=(const stream&) = delete;

    ~stream() { host_stream_faults() += head_ != items_.size(); }

    bool empty() const { return head_ == items_.size(); }

    void write(const T& item) { items_.push_back(item); }

    T read() {
        if (head_ == items_.size()) {
            ++host_stream_faults();
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

// Blocks that are handed over whole. Whoever holds a write_block writes the next one; the read_block after it reads it.
template <typename Block>
class block_stream {
  public:
    block_stream() = default;
    block_stream(const block_stream&) = delete;
    block_stream& operator=(const block_stream&) = delete;

    ~block_stream() { host_stream_faults() += full_; }

    Block& hold(bool full) {
        host_stream_faults() += full_ != full;
        return block_;
    }
    void give(bool full) { full_ = full; }

  private:
    bool full_ = false;
    Block block_;
};

template <typename Block>
class write_block {
  public:
    explicit write_block(block_stream<Block>& blocks) : blocks_(blocks), block_(blocks.hold(false)) {}
    ~write_block() { blocks_.give(true); }
    write_block(const write_block&) = delete;
    write_block& operator=(const write_block&) = delete;

    decltype(auto) operator[](std::size_t index) { return (block_[index]); }

  private:
    block_stream<Block>& blocks_;
    Block& block_;
};

template <typename Block>
class read_block {
  public:
    explicit read_block(block_stream<Block>& blocks) : blocks_(blocks), block_(blocks.hold(true)) {}
    ~read_block() { blocks_.give(false); }
    read_block(const read_block&) = delete;
    read_block& operator=(const read_block&) = delete;

    decltype(auto) operator[](std::size_t index) const { return (static_cast<const Block&>(block_)[index]); }

  private:
    block_stream<Block>& blocks_;
    Block& block_;
};
