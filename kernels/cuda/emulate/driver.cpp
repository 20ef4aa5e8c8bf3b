// The part of the CUDA driver API that ditplan uses, on the CPU: built as libcuda.so, it lets the
// program find a GPU named "emulated" whose launches run the .cu files compiled by g++.
//
// DITPLAN_EMULATE_DEVICES=0   no device: every call gives 100 (CUDA_ERROR_NO_DEVICE)
// DITPLAN_EMULATE_REVERSE=1   blocks and threads run from the last to the first
//
// Every allocation ends at a page that must not be touched, and its slack before that is checked.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include <map>
#include <string>
#include <vector>

#include "engine.h"

typedef int Result;
typedef unsigned long long Pointer;
#define API extern "C" __attribute__((visibility("default"))) Result
enum { OK = 0, INVALID = 1, NO_MEMORY = 2, NO_DEVICE = 100, BAD_IMAGE = 200, NOT_FOUND = 500, FAILED = 719 };

namespace {
const size_t PAGE = 4096;
const unsigned char CANARY = 0xC7;

struct Block {
    void *map;
    size_t mapped, bytes, slack;
};
std::map<Pointer, Block> blocks;
std::vector<void *> libraries;

struct Module {
    std::string image;
};

bool absent() {
    const char *devices = getenv("DITPLAN_EMULATE_DEVICES");
    return devices && std::string(devices) == "0";
}

bool reverse() {
    const char *text = getenv("DITPLAN_EMULATE_REVERSE");
    return text && std::string(text) == "1";
}

// The libraries of the kernels stand beside this one.
void open_libraries() {
    if (!libraries.empty()) return;
    Dl_info here;
    dladdr((void *)open_libraries, &here);
    std::string folder(here.dli_fname);
    folder.resize(folder.rfind('/') + 1);
    for (const char *name : {"sign", "integer", "fp8", "sparse", "low_rank"}) {
        std::string path = folder + "kernels_" + name + ".so";
        if (void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) libraries.push_back(library);
        else fprintf(stderr, "emulate: %s\n", dlerror());
    }
}

Result allocate(Pointer *out, size_t bytes) {
    size_t rounded = (bytes + 15) / 16 * 16, mapped = (rounded + PAGE - 1) / PAGE * PAGE + PAGE;
    void *map = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) return NO_MEMORY;
    unsigned char *end = (unsigned char *)map + mapped - PAGE;
    mprotect(end, PAGE, PROT_NONE);
    unsigned char *start = end - rounded;
    memset(map, CANARY, end - (unsigned char *)map);
    memset(start, 0xA5, bytes);
    *out = (Pointer)start;
    blocks[*out] = {map, mapped, bytes, rounded - bytes};
    return OK;
}

Result release(Pointer at) {
    auto found = blocks.find(at);
    if (found == blocks.end()) return INVALID;
    const Block &block = found->second;
    unsigned char *start = (unsigned char *)at;
    for (unsigned char *p = (unsigned char *)block.map; p < start; p++)
        if (*p != CANARY) abort();
    for (size_t i = 0; i < block.slack; i++)
        if (start[block.bytes + i] != CANARY) abort();
    munmap(block.map, block.mapped);
    blocks.erase(found);
    return OK;
}
}  // namespace

#define GUARD                  \
    if (absent()) return NO_DEVICE

API cuInit(unsigned) { GUARD; open_libraries(); return libraries.empty() ? NO_DEVICE : OK; }
API cuDriverGetVersion(int *version) { *version = 13000; return OK; }
API cuGetErrorName(Result error, const char **text) {
    *text = error == NO_DEVICE ? "CUDA_ERROR_NO_DEVICE" : "CUDA_ERROR";
    return OK;
}
API cuGetErrorString(Result error, const char **text) {
    *text = error == NO_DEVICE ? "no CUDA-capable device is detected" : "error of the emulated driver";
    return OK;
}
API cuDeviceGetCount(int *count) { GUARD; *count = 1; return OK; }
API cuDeviceGet(int *device, int ordinal) { GUARD; *device = ordinal; return ordinal ? INVALID : OK; }
API cuDeviceGetName(char *name, int length, int) { GUARD; snprintf(name, length, "emulated"); return OK; }
API cuDeviceTotalMem_v2(size_t *bytes, int) { GUARD; *bytes = 1 << 30; return OK; }
API cuDeviceGetAttribute(int *value, int attribute, int) {
    GUARD;
    switch (attribute) {
        case 16: *value = 4; break;           // multiprocessors
        case 38: *value = 1 << 20; break;     // second-level cache
        case 75: *value = 9; break;           // compute capability, major
        case 97: *value = 227 << 10; break;   // most dynamic shared memory
        default: *value = 0;
    }
    return OK;
}
API cuDevicePrimaryCtxRetain(void **context, int) { GUARD; *context = (void *)&blocks; return OK; }
API cuDevicePrimaryCtxRelease_v2(int) { return OK; }
API cuCtxSetCurrent(void *) { GUARD; return OK; }
API cuCtxGetCurrent(void **context) { GUARD; *context = (void *)&blocks; return OK; }
API cuCtxSynchronize() { return OK; }
API cuMemGetInfo_v2(size_t *available, size_t *total) { *available = *total = 1 << 30; return OK; }
API cuStreamCreate(void **stream, unsigned) { *stream = (void *)&libraries; return OK; }
API cuStreamDestroy_v2(void *) { return OK; }
API cuStreamSynchronize(void *) { return OK; }
API cuStreamWaitEvent(void *, void *, unsigned) { return OK; }
API cuEventCreate(void **event, unsigned) { *event = new timespec{}; return OK; }
API cuEventDestroy_v2(void *event) { delete (timespec *)event; return OK; }
API cuEventRecord(void *event, void *) { clock_gettime(CLOCK_MONOTONIC, (timespec *)event); return OK; }
API cuEventSynchronize(void *) { return OK; }
API cuEventQuery(void *) { return OK; }
API cuEventElapsedTime_v2(float *ms, void *start, void *end) {
    timespec a = *(timespec *)start, b = *(timespec *)end;
    *ms = (float)((b.tv_sec - a.tv_sec) * 1e3 + (b.tv_nsec - a.tv_nsec) * 1e-6);
    return OK;
}
API cuEventElapsedTime(float *ms, void *start, void *end) { return cuEventElapsedTime_v2(ms, start, end); }
API cuMemAlloc_v2(Pointer *at, size_t bytes) { GUARD; return allocate(at, bytes); }
API cuMemFree_v2(Pointer at) { return release(at); }
API cuMemsetD8Async(Pointer at, unsigned char value, size_t bytes, void *) {
    memset((void *)at, value, bytes);
    return OK;
}
API cuMemcpyHtoDAsync_v2(Pointer to, const void *from, size_t bytes, void *) {
    memcpy((void *)to, from, bytes);
    return OK;
}
API cuMemcpyDtoHAsync_v2(void *to, Pointer from, size_t bytes, void *) {
    memcpy(to, (const void *)from, bytes);
    return OK;
}
API cuMemcpyDtoDAsync_v2(Pointer to, Pointer from, size_t bytes, void *) {
    memmove((void *)to, (const void *)from, bytes);
    return OK;
}
API cuModuleLoadData(void **module, const void *image) {
    GUARD;
    *module = new Module{(const char *)image};
    return OK;
}
API cuModuleUnload(void *module) { delete (Module *)module; return OK; }
API cuModuleGetFunction(void **function, void *module, const char *name) {
    // The PTX that was really compiled must have the entry too.
    if (((Module *)module)->image.find(std::string(".entry ") + name + "(") == std::string::npos) return NOT_FOUND;
    for (void *library : libraries)
        if ((*function = dlsym(library, name))) return OK;
    return NOT_FOUND;
}
API cuFuncSetAttribute(void *, int, int) { return OK; }
API cuFuncGetAttribute(int *value, int, void *) { *value = 0; return OK; }
API cuLaunchKernel(
    void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
    unsigned shared, void *, void **p, void **
) {
    if (by != 1 || bz != 1 || gx == 0 || gy == 0 || gz == 0 || gy > 65535 || gz > 65535) return INVALID;
    emulate::Arguments a = {
        *(void **)p[0], *(void **)p[1], *(void **)p[2], *(unsigned char **)p[3], *(void **)p[4],
        *(int *)p[5],   *(int *)p[6],   *(int *)p[7],   *(int *)p[8],
    };
    emulate::launch((emulate::Entry)function, a, {gx, gy, gz}, bx, shared, reverse());
    return OK;
}
