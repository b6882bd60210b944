// A build of the library, by what dlsym finds in it, and an executor of it with its tasks.
#pragma once

#include <monad/async.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <dlfcn.h>

// One build. Its functions, under the names of the headers.
struct Build {
    void *handle;
    explicit Build(char const *path) : handle(dlopen(path, RTLD_NOW | RTLD_LOCAL))
    {
        if (handle == nullptr) {
            std::fprintf(stderr, "%s\n", dlerror());
            std::exit(1);
        }
        auto const need = [&](char const *name) {
            auto *const found = dlsym(handle, name);
            if (found == nullptr) {
                std::fprintf(stderr, "%s: %s\n", path, dlerror());
                std::exit(1);
            }
            return found;
        };
#define LOAD(name) name = reinterpret_cast<decltype(name)>(need("monad_async_" #name))
        LOAD(executor_create);
        LOAD(executor_run);
        LOAD(executor_has_work);
        LOAD(executor_destroy);
        LOAD(task_create);
        LOAD(task_destroy);
        LOAD(task_attach);
        LOAD(task_has_exited);
        LOAD(task_suspend_for_duration);
        LOAD(task_io);
        LOAD(scope_enter);
        LOAD(scope_leave);
#undef LOAD
    }
    decltype(&monad_async_executor_create) executor_create;
    decltype(&monad_async_executor_run) executor_run;
    decltype(&monad_async_executor_has_work) executor_has_work;
    decltype(&monad_async_executor_destroy) executor_destroy;
    decltype(&monad_async_task_create) task_create;
    decltype(&monad_async_task_destroy) task_destroy;
    decltype(&monad_async_task_attach) task_attach;
    decltype(&monad_async_task_has_exited) task_has_exited;
    decltype(&monad_async_task_suspend_for_duration) task_suspend_for_duration;
    decltype(&monad_async_task_io) task_io;
    decltype(&monad_async_scope_enter) scope_enter;
    decltype(&monad_async_scope_leave) scope_leave;
};

inline void must(monad_async_result r, char const *what)
{
    if (r.error != 0) {
        std::fprintf(stderr, "%s: error %d\n", what, r.error);
        std::exit(1);
    }
}

// An executor of one build with its tasks, all of which run one body.
struct Stage {
    Build const &build;
    monad_async_executor ex = nullptr;
    std::vector<monad_async_task> tasks;
    // What a body reads.
    unsigned left = 0;
    uint64_t sleep_ns = 0;

    Stage(Build const &build, unsigned entries, bool tracks, size_t count,
          monad_async_result (*body)(monad_async_task))
        : build(build)
    {
        monad_async_executor_attr attr{};
        attr.io_uring_ring.entries = entries;
        attr.flags = tracks ? 0 : MONAD_ASYNC_EXECUTOR_NO_TIME_TRACKING;
        must(build.executor_create(&ex, &attr), "executor");
        for (size_t i = 0; i < count; ++i) {
            monad_async_task task = nullptr;
            monad_async_task_attr task_attr{};
            task_attr.stack_size = 16384;
            must(build.task_create(&task, &task_attr), "task");
            task->user_code = body;
            task->user_ptr = this;
            tasks.push_back(task);
        }
    }
    Stage(Stage const &) = delete;
    ~Stage()
    {
        for (auto *task : tasks) {
            must(build.task_destroy(task), "destroy");
        }
        must(build.executor_destroy(ex), "destroy");
    }
    void attach_all()
    {
        for (auto *task : tasks) {
            must(build.task_attach(ex, task), "attach");
        }
    }
    void finish()
    {
        while (build.executor_has_work(ex)) {
            must(build.executor_run(ex, SIZE_MAX, nullptr), "run");
        }
    }
};

inline Stage &of(monad_async_task task)
{
    return *static_cast<Stage *>(task->user_ptr);
}

inline monad_async_result nothing(monad_async_task)
{
    return {0, 0, 0};
}
