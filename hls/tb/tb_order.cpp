// When a step may load: the rule of hold_loads.hpp against its definition.
#include <algorithm>
#include <random>

#include "hold_loads.hpp"
#include "tb.hpp"

// Step i loads when all steps but the `depends` - 1 before it are complete, and one completion is read for each. No more
// than STEPS_IN_FLIGHT completions may ever be unread, or their queue would fill.
uint32_t test_waiting() {
    std::mt19937 random(6);
    std::uniform_int_distribution<uint32_t> choose(0, isa::STEPS_IN_FLIGHT);
    uint32_t differences = 0, seen = 0;
    for (uint32_t step = 0; step < 5000; ++step) {
        const uint32_t depends = choose(random);
        const uint32_t back = depends == 0 ? isa::STEPS_IN_FLIGHT : depends;
        const uint32_t want = std::max(seen, step + 1 > back ? step + 1 - back : 0);
        seen += completions_missing(step - seen, (uint8_t)depends);
        differences += seen != want || step + 1 - seen > isa::STEPS_IN_FLIGHT;
    }
    return differences;
}
