// Host only: when a run must stop. It is looked at between steps, each of which ends by itself.
#pragma once

#include <chrono>

inline std::chrono::steady_clock::time_point& host_deadline() {
    static thread_local std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
    return deadline;
}

inline void host_start_clock(double seconds) {
    // A limit of more than a month is none.
    constexpr double longest = 3e6;
    const std::chrono::duration<double> span(seconds < longest ? seconds : longest);
    host_deadline() =
        std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::steady_clock::duration>(span);
}

inline bool host_is_late() { return std::chrono::steady_clock::now() >= host_deadline(); }
