// For a testbench that runs every process of the engine as a thread: the HLS tool's integers, as far as the source uses
// them.
#pragma once

#include <cstdint>

template <int width>
class ap_int {
  public:
    ap_int() : value_(0) {}
    ap_int(int64_t value) : value_((int64_t)((uint64_t)value << (64 - width)) >> (64 - width)) {}
    operator int64_t() const { return value_; }

  private:
    int64_t value_;
};

// Of whole words.
template <int width>
class ap_uint {
  public:
    ap_uint operator>>(uint32_t bits) const {
        ap_uint moved{};
        for (uint32_t i = 0; i + bits / 64 < WORDS; ++i) {
            moved.word_[i] = word_[i + bits / 64];
        }
        return moved;
    }
    uint64_t to_uint64() const { return word_[0]; }

  private:
    static_assert(width % 64 == 0, "of whole words");
    static constexpr uint32_t WORDS = width / 64;
    uint64_t word_[WORDS];
};
