// Host stand-ins for the HLS compiler's integers of any width: what a wire of that width would carry.
#pragma once

#include <cstdint>

// A signed number of `width` bits: what does not fit is cut off, as in hardware. Sums and products are made in 64 bits.
template <uint32_t width>
class signed_bits {
  public:
    constexpr signed_bits() : value_(0) {}
    constexpr signed_bits(int64_t value) : value_((int64_t)((uint64_t)value << (64 - width)) >> (64 - width)) {}
    constexpr operator int64_t() const { return value_; }

  private:
    static_assert(width >= 1 && width <= 64, "as wide as a host's integer at most");
    int64_t value_;
};

// `words` 64-bit words that a port of memory moves at once.
template <uint32_t words>
struct wide_word {
    uint64_t word[words];
};

template <uint32_t words>
uint64_t word_of(const wide_word<words>& wide, uint32_t number) {
    return wide.word[number];
}
