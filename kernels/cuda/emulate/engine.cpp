// Runs the threads of a block as fibers: at a barrier or an exchange a fiber hands over to the next.
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

extern "C" {
__attribute__((visibility("default"))) emulate::Engine *ditplan_engine;
}

namespace {
const size_t STACK = 128 << 10;
const unsigned MOST = 1024, LANES = 32;

struct Fiber {
    ucontext_t context;
    bool done;
};

// Threads that wait for each other: the count of those here, and how often all were.
struct Meeting {
    unsigned here, times;
};

emulate::Engine engine;
Fiber fibers[MOST];
ucontext_t scheduler;
unsigned char *stacks;
Meeting block_meeting, warp_meetings[MOST / LANES];
uint64_t slots[MOST / LANES][2][LANES];
unsigned current, alive, moves;
emulate::Entry entry;
const emulate::Arguments *arguments;

void yield() {
    unsigned me = current;
    swapcontext(&fibers[me].context, &scheduler);
}

void meet(Meeting &meeting, unsigned members) {
    unsigned times = meeting.times;
    moves++;
    if (++meeting.here == members) {
        meeting.here = 0;
        meeting.times++;
        return;
    }
    while (meeting.times == times) yield();
    moves++;
}

void barrier() { meet(block_meeting, engine.threads.x); }

uint64_t swap_lanes(uint64_t value, unsigned from) {
    unsigned warp = current / LANES;
    // Two sets of slots: a lane that is ahead writes to the one that no other reads any more.
    unsigned set = warp_meetings[warp].times % 2;
    slots[warp][set][current % LANES] = value;
    meet(warp_meetings[warp], LANES);
    return slots[warp][set][from];
}

void body() {
    const emulate::Arguments &a = *arguments;
    entry(a.x, a.base, a.out, a.message, a.work, a.rows, a.channels, a.option, a.stage);
    fibers[current].done = true;
    alive--;
    moves++;
    setcontext(&scheduler);
}

void start(unsigned thread) {
    Fiber &fiber = fibers[thread];
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = stacks + thread * STACK;
    fiber.context.uc_stack.ss_size = STACK;
    fiber.context.uc_link = &scheduler;
    fiber.done = false;
    makecontext(&fiber.context, body, 0);
}

void run_block(bool reverse) {
    unsigned threads = engine.threads.x;
    block_meeting = {};
    for (Meeting &meeting : warp_meetings) meeting = {};
    for (unsigned i = 0; i < threads; i++) start(i);
    alive = threads;
    while (alive) {
        moves = 0;
        for (unsigned i = 0; i < threads; i++) {
            current = reverse ? threads - 1 - i : i;
            if (fibers[current].done) continue;
            engine.thread = {current, 0, 0};
            swapcontext(&scheduler, &fibers[current].context);
        }
        if (moves == 0) {
            fprintf(stderr, "emulate: a barrier or shuffle is not reached by every thread\n");
            abort();
        }
    }
}
}  // namespace

namespace emulate {
void launch(Entry what, const Arguments &with, dim3_ blocks, unsigned threads, unsigned shared, bool reverse) {
    if (threads == 0 || threads > MOST || threads % LANES) {
        fprintf(stderr, "emulate: %u threads a block are not whole warps\n", threads);
        abort();
    }
    if (!stacks) {
        stacks = (unsigned char *)mmap(
            nullptr, MOST * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0
        );
        ditplan_engine = &engine;
    }
    unsigned char *memory = (unsigned char *)aligned_alloc(16, (shared + 31) / 16 * 16);
    memset(memory, 0xA5, shared);
    engine = {{}, {}, {threads, 1, 1}, blocks, memory, barrier, swap_lanes};
    entry = what;
    arguments = &with;
    unsigned count = blocks.x * blocks.y * blocks.z;
    for (unsigned i = 0; i < count; i++) {
        unsigned n = reverse ? count - 1 - i : i;
        engine.block = {n % blocks.x, n / blocks.x % blocks.y, n / blocks.x / blocks.y};
        run_block(reverse);
    }
    free(memory);
}
}  // namespace emulate
