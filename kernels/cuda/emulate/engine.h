// A launch on the CPU.
#pragma once
#include "shim.h"

namespace emulate {
// The nine parameters of every entry point.
struct Arguments {
    const void *x;
    void *base, *out;
    unsigned char *message;
    void *work;
    int rows, channels, option, stage;
};
typedef void (*Entry)(const void *, void *, void *, unsigned char *, void *, int, int, int, int);

// Runs every block, each to its end; `reverse` runs blocks and threads from the last to the first.
void launch(Entry entry, const Arguments &arguments, dim3_ blocks, unsigned threads, unsigned shared, bool reverse);
}  // namespace emulate
