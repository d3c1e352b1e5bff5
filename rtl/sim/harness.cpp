// Runs a program on the simulated engine: a library with one call, which sets the registers, starts, and counts cycles.
#include <chrono>
#include <cstring>
#include <memory>

#include "Vengine.h"
#include "memory.hpp"
#include "array.hpp"
#include "isa.hpp"
#include "verilated.h"

namespace {

constexpr int PORTS = 5;
constexpr uint64_t STILL = 200000; // cycles without any word moved, after which the engine is taken to stand still

struct Result {
    uint32_t digest, completed;
    uint64_t cycles; // from the start to the end of the run
};

std::string message;

template <int WORDS, typename Wide>
void put(Wide& port, const uint64_t* words) {
    if constexpr (WORDS == 1) {
        port = words[0];
    } else {
        for (int i = 0; i < WORDS; ++i) {
            port[2 * i] = (uint32_t)words[i];
            port[2 * i + 1] = (uint32_t)(words[i] >> 32);
        }
    }
}

class Bench {
public:
    Bench(uint64_t* words, uint64_t count, const Settings& settings)
        : memory_(words, count, settings), x_("features", 0, memory_), r_("residual", 3, memory_),
          d_("descriptors", 4, memory_), w_("weights", 2, memory_), y_("results", 1, memory_) {
        context_.randReset(2); // what nobody resets holds anything
        context_.randSeed((int)(settings.seed & 0x7fffffff) | 1);
        top_ = std::make_unique<Vengine>(&context_);
        top_->rst = 1;
        for (int i = 0; i < 4; ++i) { cycle(); }
        top_->rst = 0;
        cycle();
    }
    ~Bench() { top_->final(); }

    void write(uint32_t address, uint32_t value) {
        top_->s_awaddr = address;
        top_->s_wdata = value;
        top_->s_wstrb = 0xf;
        top_->s_awvalid = top_->s_wvalid = top_->s_bready = 1;
        for (bool taken = false; !taken;) { taken = cycle().written; }
        top_->s_awvalid = top_->s_wvalid = 0;
        cycle();
    }
    uint32_t read(uint32_t address) {
        top_->s_araddr = address;
        top_->s_arvalid = top_->s_rready = 1;
        for (bool taken = false; !taken;) { taken = cycle().asked; }
        top_->s_arvalid = 0;
        while (true) {
            const Seen seen = cycle();
            if (seen.answered) { return seen.answer; }
        }
    }
    // Cycles until the engine says that it is done.
    uint64_t run(double seconds) {
        const uint64_t started = memory_.now();
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
        double moved = memory_.moved();
        uint64_t moved_at = started;
        while (!cycle().done) {
            if (memory_.moved() != moved) {
                moved = memory_.moved();
                moved_at = memory_.now();
            }
            if (memory_.now() - moved_at > STILL) { throw Fault("the engine stands still"); }
            if (memory_.now() % 4096 == 0 && std::chrono::steady_clock::now() > deadline) { return 0; }
        }
        if (!x_.idle() || !r_.idle() || !d_.idle() || !w_.idle() || !y_.idle()) {
            throw Fault("the engine is done, and memory is not");
        }
        return memory_.now() - started;
    }

private:
    struct Seen {
        bool written, asked, answered, done;
        uint32_t answer;
    };

    Seen cycle() {
        Vengine& top = *top_;
        memory_.begin_cycle();
        // First is whoever comes after the port that moved something last: those that want memory at the same time get
        // like shares of it.
        const int first = memory_.served() + 1;
        for (int i = 0; i < PORTS; ++i) {
            switch ((first + i) % PORTS) {
            case 0: x_.offer(top.x_arvalid); break;
            case 1: y_.offer(top.y_awvalid, top.y_wvalid); break;
            case 2: w_.offer(top.w_arvalid); break;
            case 3: r_.offer(top.r_arvalid); break;
            default: d_.offer(top.d_arvalid);
            }
        }
        top.x_arready = x_.arready; top.x_rvalid = x_.rvalid; top.x_rlast = x_.rlast; top.x_rdata = x_.rdata[0];
        top.r_arready = r_.arready; top.r_rvalid = r_.rvalid; top.r_rlast = r_.rlast; top.r_rdata = r_.rdata[0];
        top.d_arready = d_.arready; top.d_rvalid = d_.rvalid; top.d_rlast = d_.rlast; top.d_rdata = d_.rdata[0];
        top.w_arready = w_.arready; top.w_rvalid = w_.rvalid; top.w_rlast = w_.rlast;
        put<ARRAY_WEIGHT_PORT_WORDS>(top.w_rdata, w_.rdata);
        top.y_awready = y_.awready; top.y_wready = y_.wready; top.y_bvalid = y_.bvalid;
        top.clk = 0;
        top.eval();
        const Seen seen{top.s_awready && top.s_awvalid, top.s_arready && top.s_arvalid, top.s_rvalid != 0,
                        top.irq != 0, top.s_rdata};
        if (top.rst) { // nothing that the engine says counts
            top.clk = 1;
            top.eval();
            return Seen{};
        }
        x_.take(top.x_arvalid, top.x_araddr, top.x_arlen, top.x_rready);
        r_.take(top.r_arvalid, top.r_araddr, top.r_arlen, top.r_rready);
        d_.take(top.d_arvalid, top.d_araddr, top.d_arlen, top.d_rready);
        w_.take(top.w_arvalid, top.w_araddr, top.w_arlen, top.w_rready);
        y_.take(top.y_awvalid, top.y_awaddr, top.y_awlen, top.y_wvalid, top.y_wdata, top.y_wlast, top.y_bready);
        top.clk = 1;
        top.eval();
        return seen;
    }

    Memory memory_;
    ReadPort<1> x_, r_, d_;
    ReadPort<ARRAY_WEIGHT_PORT_WORDS> w_;
    WritePort y_;
    VerilatedContext context_;
    std::unique_ptr<Vengine> top_;
};

} // namespace

void vl_fatal(const char* file, int line, const char*, const char* text) {
    throw Fault(std::string(file) + ":" + std::to_string(line) + ": " + text);
}

// 0: done; 1: a fault, see `proprune_rtl_fault`; 2: the time is over.
extern "C" __attribute__((visibility("default"))) int proprune_rtl_run(uint64_t* words, uint64_t count,
                                                                       uint32_t layer_table, uint32_t step_count,
                                                                       uint32_t counters, double seconds,
                                                                       const Settings* settings, Result* result) {
    message.clear();
    try {
        Bench bench(words, count, *settings);
        for (const uint32_t pointer : {REGISTER_FEATURES, REGISTER_WEIGHTS, REGISTER_RESIDUAL, REGISTER_DESCRIPTORS,
                                       REGISTER_RESULTS}) {
            bench.write(pointer, (uint32_t)Memory::BASE);
            bench.write(pointer + 4, 0);
        }
        bench.write(REGISTER_LAYER_TABLE, layer_table);
        bench.write(REGISTER_STEP_COUNT, step_count);
        bench.write(REGISTER_COUNTERS, counters);
        bench.write(REGISTER_CONTROL, 1);
        result->cycles = bench.run(seconds);
        result->completed = bench.read(REGISTER_COMPLETED);
        result->digest = bench.read(REGISTER_DIGEST);
        return result->cycles == 0 ? 2 : 0;
    } catch (const std::exception& error) {
        message = error.what();
        return 1;
    }
}

extern "C" __attribute__((visibility("default"))) const char* proprune_rtl_fault() { return message.c_str(); }
