// DDR behind the engine's ports: a latency, a bandwidth that all ports share, a bound on what is under way, refreshes, and
// random stalls. It checks what AXI asks of a master, and that nothing outside the buffer is touched.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

struct Settings {
    double bytes_per_cycle;  // of all ports together
    uint32_t latency;        // cycles from a request to its first word, and from the last word written to its response
    uint32_t outstanding;    // bursts that a port has under way
    uint32_t burst_bytes;    // least that memory moves at once
    uint32_t refresh_every;  // cycles; 0: never
    uint32_t refresh_cycles; // in which nothing moves
    double stall;            // chance that a port does nothing in a cycle
    uint64_t seed;
};

struct Fault : std::runtime_error {
    using std::runtime_error::runtime_error;
};

class Memory {
public:
    static constexpr uint64_t BASE = 0x10000000;

    Memory(uint64_t* words, uint64_t count, const Settings& settings)
        : settings_(settings), words_(words), count_(count), random_(settings.seed) {}

    void begin_cycle() {
        ++now_;
        budget_ = std::min(budget_ + settings_.bytes_per_cycle, 4.0 * settings_.burst_bytes + settings_.bytes_per_cycle);
    }
    bool refreshes() const {
        return settings_.refresh_every != 0 && now_ % settings_.refresh_every < settings_.refresh_cycles;
    }
    bool stalls() { return settings_.stall > 0 && std::uniform_real_distribution<>(0, 1)(random_) < settings_.stall; }
    bool affords() const { return budget_ > 0; }
    void pays(int port, double bytes) {
        budget_ -= bytes;
        moved_ += bytes;
        served_ = port;
    }
    int served() const { return served_; } // port that moved something last
    uint64_t now() const { return now_; }
    double moved() const { return moved_; }
    const Settings& settings() const { return settings_; }

    // Number of the word at a byte address.
    uint64_t place(const std::string& port, uint64_t address, uint64_t beats, uint32_t beat_bytes) const {
        const uint64_t bytes = beats * beat_bytes;
        if (address % beat_bytes != 0) { throw Fault(port + ": a burst begins within a beat"); }
        if (address / 4096 != (address + bytes - 1) / 4096) { throw Fault(port + ": a burst crosses 4 KiB"); }
        if (address < BASE || (address - BASE + bytes + 7) / 8 > count_) {
            throw Fault(port + ": a burst reaches outside the buffer, at word " + std::to_string((address - BASE) / 8));
        }
        return (address - BASE) / 8;
    }
    uint64_t read(uint64_t word) const { return words_[word]; }
    void write(uint64_t word, uint64_t value) { words_[word] = value; }

private:
    Settings settings_;
    uint64_t* words_;
    uint64_t count_;
    std::mt19937_64 random_;
    uint64_t now_ = 0;
    int served_ = 0;
    double budget_ = 0, moved_ = 0;
};

// One port for reading. Before the clock's edge: `offer` sets what the engine sees; at the edge: `take` sees what it does.
// Memory is never ready before it is asked: a master that waits for that waits for ever, which AXI forbids it to do.
template <int WORDS>
class ReadPort {
public:
    ReadPort(std::string name, int number, Memory& memory) : name_(std::move(name)), number_(number), memory_(memory) {}

    bool arready = false, rvalid = false, rlast = false;
    uint64_t rdata[WORDS] = {};

    void offer(bool arvalid) {
        const Settings& s = memory_.settings();
        arready = arvalid && bursts_.size() < s.outstanding && !memory_.stalls();
        if (rvalid || bursts_.empty()) { return; }
        Burst& burst = bursts_.front();
        if (burst.ready_at > memory_.now() || memory_.refreshes() || !memory_.affords() || memory_.stalls()) { return; }
        for (int i = 0; i < WORDS; ++i) { rdata[i] = memory_.read(burst.word + i); }
        memory_.pays(number_, burst.alone ? std::max<double>(8.0 * WORDS, s.burst_bytes) : 8.0 * WORDS);
        rvalid = true;
        rlast = burst.left == 1;
    }

    void take(bool arvalid, uint64_t address, uint32_t length, bool rready) {
        if (asked_ && (!arvalid || address != last_address_ || length != last_length_)) {
            throw Fault(name_ + ": a request was taken back");
        }
        asked_ = arvalid && !arready;
        last_address_ = address;
        last_length_ = length;
        if (arvalid && arready) {
            const uint64_t beats = length + 1;
            bursts_.push_back({memory_.place(name_, address, beats, 8 * WORDS), beats, beats == 1,
                               memory_.now() + memory_.settings().latency});
        }
        if (rvalid && rready) {
            rvalid = false;
            Burst& burst = bursts_.front();
            burst.word += WORDS;
            if (--burst.left == 0) { bursts_.pop_front(); }
        }
    }
    bool idle() const { return bursts_.empty(); }

private:
    struct Burst {
        uint64_t word, left;
        bool alone;
        uint64_t ready_at;
    };
    std::string name_;
    int number_;
    Memory& memory_;
    std::deque<Burst> bursts_;
    bool asked_ = false;
    uint64_t last_address_ = 0;
    uint32_t last_length_ = 0;
};

// The port for writing. What was written is there when its response is, and not before: a step that reads too early sees
// the old words.
class WritePort {
public:
    WritePort(std::string name, int number, Memory& memory) : name_(std::move(name)), number_(number), memory_(memory) {}

    bool awready = false, wready = false, bvalid = false;

    void offer(bool awvalid, bool wvalid) {
        const Settings& s = memory_.settings();
        awready = awvalid && asked_.size() + pending_.size() < s.outstanding && !memory_.stalls();
        wready = wvalid && !memory_.refreshes() && memory_.affords() && sent_.size() < 256 && !memory_.stalls();
        if (wready) { memory_.pays(number_, 8.0); }
        if (!bvalid && !pending_.empty() && pending_.front().ready_at <= memory_.now() && !memory_.stalls()) {
            for (const auto& [word, value] : pending_.front().words) { memory_.write(word, value); }
            bvalid = true;
        }
    }

    void take(bool awvalid, uint64_t address, uint32_t length, bool wvalid, uint64_t data, bool last, bool bready) {
        if (was_asked_ && (!awvalid || address != last_address_ || length != last_length_)) {
            throw Fault(name_ + ": a request was taken back");
        }
        if (offered_ && (!wvalid || data != last_data_)) { throw Fault(name_ + ": a word was taken back"); }
        offered_ = wvalid && !wready;
        last_data_ = data;
        was_asked_ = awvalid && !awready;
        last_address_ = address;
        last_length_ = length;
        if (bvalid && bready) {
            bvalid = false;
            pending_.pop_front();
        }
        if (awvalid && awready) {
            asked_.push_back({memory_.place(name_, address, length + 1, 8), length + 1});
        }
        if (wvalid && wready) {
            sent_.push_back({data, last});
        }
        while (!asked_.empty() && sent_.size() >= asked_.front().beats) {
            const auto [word, beats] = asked_.front();
            Burst burst{{}, memory_.now() + memory_.settings().latency};
            for (uint64_t i = 0; i < beats; ++i) {
                if (sent_.front().last != (i + 1 == beats)) { throw Fault(name_ + ": the last word is not the last"); }
                burst.words.push_back({word + i, sent_.front().value});
                sent_.pop_front();
            }
            if (beats == 1) { memory_.pays(number_, std::max(0.0, memory_.settings().burst_bytes - 8.0)); }
            pending_.push_back(std::move(burst));
            asked_.pop_front();
        }
    }
    bool idle() const { return asked_.empty() && sent_.empty() && pending_.empty(); }

private:
    struct Asked {
        uint64_t word, beats;
    };
    struct Sent {
        uint64_t value;
        bool last;
    };
    struct Burst {
        std::vector<std::pair<uint64_t, uint64_t>> words;
        uint64_t ready_at;
    };
    std::string name_;
    int number_;
    Memory& memory_;
    std::deque<Asked> asked_;
    std::deque<Sent> sent_;
    std::deque<Burst> pending_;
    bool was_asked_ = false, offered_ = false;
    uint64_t last_data_ = 0;
    uint64_t last_address_ = 0;
    uint32_t last_length_ = 0;
};
