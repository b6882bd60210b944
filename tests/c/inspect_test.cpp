// Names, stacks, backtraces, and what belongs to one run of a task.

#include "support.hpp"

#include <monad/async/group.h>
#include <monad/async/inspect.h>
#include <monad/async/mutex.h>
#include <monad/async/scope.h>
#include <monad/async/task_local.h>

#include <algorithm>
#include <string>

#include <dlfcn.h>

using namespace support;

namespace {

std::string name_of(monad_async_task task)
{
    char buffer[MONAD_ASYNC_NAME_BYTES + 1];
    size_t const length = monad_async_task_name(task, buffer, sizeof buffer);
    EXPECT_EQ(length, strlen(buffer));
    return buffer;
}

TEST(Names, of_a_task_stay_with_it)
{
    Executor ex(0);
    Task task([](monad_async_task self) {
        EXPECT_EQ(name_of(self), "before");
        EXPECT_EQ(monad_async_task_set_name(self, "inside").error, 0);
        return success();
    });
    EXPECT_EQ(name_of(task), "");
    EXPECT_EQ(monad_async_task_set_name(task, "before").error, 0);
    for (int i = 0; i < 2; ++i) {
        task.attach(ex);
        ex.finish();
        EXPECT_EQ(name_of(task), "inside");
        EXPECT_EQ(monad_async_task_set_name(task, "before").error, 0);
    }
    EXPECT_EQ(monad_async_task_set_name(task, nullptr).error, 0);
    EXPECT_EQ(name_of(task), "");
    EXPECT_EQ(monad_async_task_set_name(nullptr, "x").error, EINVAL);
}

TEST(Names, are_cut_and_fit_the_buffer)
{
    Task task;
    EXPECT_EQ(monad_async_task_set_name(task, std::string(100, 'x').c_str()).error, 0);
    EXPECT_EQ(name_of(task), std::string(MONAD_ASYNC_NAME_BYTES, 'x'));
    char small[4] = "???";
    EXPECT_EQ(monad_async_task_name(task, small, sizeof small), size_t{MONAD_ASYNC_NAME_BYTES});
    EXPECT_STREQ(small, "xxx");
    EXPECT_EQ(monad_async_task_name(task, nullptr, 0), size_t{MONAD_ASYNC_NAME_BYTES});
}

TEST(Names, of_a_task_that_is_destroyed_are_not_the_next_ones)
{
    for (int i = 0; i < 100; ++i) {
        Task task;
        EXPECT_EQ(name_of(task), "");
        EXPECT_EQ(monad_async_task_set_name(task, "somebody").error, 0);
    }
}

TEST(Names, of_an_attached_task_are_its_executors_threads)
{
    Executor ex(0);
    Task task([](monad_async_task self) { return monad_async_task_park(self); });
    task.attach(ex);
    ex.run();
    std::thread([&] {
        EXPECT_EQ(monad_async_task_set_name(task, "x").error, EPERM);
        EXPECT_EQ(monad_async_executor_set_name(ex, "x").error, EPERM);
    }).join();
    EXPECT_EQ(monad_async_executor_set_name(ex, "ours").error, 0);
    char buffer[8];
    EXPECT_EQ(monad_async_executor_name(ex, buffer, sizeof buffer), 4u);
    EXPECT_STREQ(buffer, "ours");
    EXPECT_EQ(monad_async_task_unpark(task).error, 0);
    ex.finish();
}

TEST(Stack, has_bounds_around_its_variables)
{
    Executor ex(0);
    Task task(
        [](monad_async_task self) {
            void *low, *high;
            EXPECT_EQ(monad_async_task_stack_bounds(self, &low, &high).error, 0);
            int here = 0;
            EXPECT_LT(low, static_cast<void *>(&here));
            EXPECT_GT(high, static_cast<void *>(&here));
            EXPECT_GE(static_cast<char *>(high) - static_cast<char *>(low), 65536);
            return success();
        },
        65536);
    task.attach(ex);
    ex.finish();
    EXPECT_EQ(monad_async_task_stack_bounds(task, nullptr, nullptr).error, EINVAL);
}

TEST(Stack, tells_how_much_was_used)
{
    Executor ex(0);
    size_t constexpr size = 1 << 20, used = 300000;
    Task task(
        [](monad_async_task) {
            // Page by page, as a stack grows.
            auto *const bytes = static_cast<char volatile *>(__builtin_alloca(used));
            for (size_t at = used; at > 4096; at -= 4096) {
                bytes[at - 4096] = 1;
            }
            return success();
        },
        size);
    auto const before = monad_async_task_stack_used(task);
    ASSERT_EQ(before.error, 0) << monad_async_result_message(before);
    EXPECT_LT(before.value, 65536);
    task.attach(ex);
    ex.finish();
    auto const after = monad_async_task_stack_used(task);
    EXPECT_GE(after.value, static_cast<intptr_t>(used - 8192));
    EXPECT_LT(after.value, static_cast<intptr_t>(used + 65536));
}

std::vector<std::string> backtrace(monad_async_task task)
{
    void *pcs[64];
    auto const r = monad_async_task_backtrace(task, pcs, 64);
    if (r.error == ENOTSUP) {
        skip("no backtraces of suspended tasks here");
    }
    EXPECT_EQ(r.error, 0) << monad_async_result_message(r);
    std::vector<std::string> names;
    for (intptr_t i = 0; i < r.value; ++i) {
        Dl_info info{};
        auto *const before = static_cast<char *>(pcs[i]) - 1;
        names.push_back(dladdr(before, &info) != 0 && info.dli_sname != nullptr ? info.dli_sname
                                                                                : "");
    }
    return names;
}

size_t position(std::vector<std::string> const &names, char const *wanted)
{
    for (size_t i = 0; i < names.size(); ++i) {
        if (names[i] == wanted) {
            return i;
        }
    }
    return SIZE_MAX;
}

} // namespace

// For the loader's table: of this program, which exports them.
extern "C" __attribute__((noinline, visibility("default"))) monad_async_result
inspect_test_inner(monad_async_task self)
{
    auto const r = monad_async_task_park(self);
    asm volatile("" ::: "memory");
    return r;
}

extern "C" __attribute__((noinline, visibility("default"))) monad_async_result
inspect_test_outer(monad_async_task self)
{
    auto const r = inspect_test_inner(self);
    asm volatile("" ::: "memory");
    return r;
}

namespace {

TEST(Backtrace, of_a_suspended_task)
{
    Executor ex(0);
    Task task([](monad_async_task self) { return inspect_test_outer(self); });
    EXPECT_EQ(backtrace(task).size(), 0u);
    task.attach(ex);
    EXPECT_EQ(backtrace(task).size(), 0u) << "pending launch";
    ex.run();
    auto const names = backtrace(task);
    size_t const inner = position(names, "inspect_test_inner");
    EXPECT_NE(inner, SIZE_MAX);
    EXPECT_EQ(position(names, "inspect_test_outer"), inner + 1);
    EXPECT_LE(inner, 3u) << "nothing of the asker before it";
    EXPECT_GT(names.size(), inner + 2);
    // As many as fit.
    void *two[2];
    EXPECT_EQ(monad_async_task_backtrace(task, two, 2).value, 2);
    EXPECT_EQ(monad_async_task_backtrace(task, nullptr, 0).value, 0);
    EXPECT_EQ(monad_async_task_backtrace(task, nullptr, 1).error, EINVAL);
    std::thread([&] { EXPECT_EQ(monad_async_task_backtrace(task, two, 2).error, EPERM); }).join();
    // Looking has not hurt it.
    EXPECT_EQ(monad_async_task_unpark(task).error, 0);
    ex.finish();
    EXPECT_EQ(task->result.error, 0);
}

TEST(Backtrace, of_another_task_by_a_task_and_of_itself)
{
    Executor ex(0);
    Task parked([](monad_async_task self) { return inspect_test_outer(self); });
    parked.attach(ex);
    Task looker([&](monad_async_task self) {
        EXPECT_NE(position(backtrace(parked), "inspect_test_inner"), SIZE_MAX);
        void *pcs[64];
        auto const own = monad_async_task_backtrace(self, pcs, 64);
        EXPECT_EQ(own.error, 0);
        EXPECT_GT(own.value, 2);
        return monad_async_task_unpark(parked);
    });
    looker.attach(ex);
    ex.finish();
}

struct Counted {
    monad_async_task_local local{};
    int *order;
    int at;
};

int counter;

void note_end(monad_async_task_local *local)
{
    auto *const counted = reinterpret_cast<Counted *>(local);
    counted->order[counted->at] = ++counter;
}

TEST(Locals, are_of_one_run_and_destroyed_newest_first)
{
    Executor ex(0);
    static int key[3];
    int order[3] = {};
    counter = 0;
    Task task([&](monad_async_task self) {
        EXPECT_EQ(monad_async_task_local_find(self, &key[0]), nullptr);
        Counted *const locals = new Counted[3];
        for (int i = 0; i < 3; ++i) {
            locals[i].local.key = &key[i];
            locals[i].local.destroy = note_end;
            locals[i].order = order;
            locals[i].at = i;
            EXPECT_EQ(monad_async_task_local_add(self, &locals[i].local).error, 0);
            EXPECT_EQ(monad_async_task_local_add(self, &locals[i].local).error, EEXIST);
        }
        EXPECT_EQ(monad_async_task_suspend_for_duration(self, 0).error, 0);
        EXPECT_EQ(monad_async_task_local_find(self, &key[1]), &locals[1].local);
        EXPECT_EQ(monad_async_task_local_remove(self, &key[1]), &locals[1].local);
        EXPECT_EQ(monad_async_task_local_remove(self, &key[1]), nullptr);
        EXPECT_EQ(order[0], 0);
        return success(reinterpret_cast<intptr_t>(locals));
    });
    for (int i = 0; i < 2; ++i) {
        task.attach(ex);
        ex.finish();
        EXPECT_EQ(order[2], 2 * i + 1);
        EXPECT_EQ(order[0], 2 * i + 2);
        EXPECT_EQ(order[1], 0) << "was removed";
        delete[] reinterpret_cast<Counted *>(task->result.value);
        order[0] = order[2] = 0;
    }
    monad_async_task_local none{};
    EXPECT_EQ(monad_async_task_local_add(task, &none).error, EPERM);
    EXPECT_EQ(monad_async_task_local_find(task, &key[0]), nullptr);
}

std::string waits_of(monad_async_executor ex)
{
    char text[4096];
    auto const r = monad_async_executor_waits_text(ex, text, sizeof text);
    EXPECT_EQ(r.error, 0);
    EXPECT_EQ(static_cast<size_t>(r.value), strlen(text));
    EXPECT_EQ(monad_async_executor_waits_text(ex, nullptr, 0).value, r.value);
    return text;
}

TEST(Waits, tell_who_waits_for_whom_and_where_it_is_a_ring)
{
    Executor ex(64);
    monad_async_mutex a = MONAD_ASYNC_MUTEX_INIT, b = MONAD_ASYNC_MUTEX_INIT;
    EXPECT_EQ(waits_of(ex), "");
    auto const takes = [](monad_async_mutex *first, monad_async_mutex *second) {
        return [=](monad_async_task self) {
            EXPECT_EQ(monad_async_mutex_lock(self, first).error, 0);
            EXPECT_EQ(monad_async_task_suspend_for_duration(self, 0).error, 0);
            auto const r = monad_async_mutex_lock(self, second);
            EXPECT_EQ(monad_async_mutex_unlock(self, first).error, 0);
            return r;
        };
    };
    Task one(takes(&a, &b)), two(takes(&b, &a));
    Task joins([&](monad_async_task self) { return monad_async_task_join(self, one); });
    Task sleeps([](monad_async_task self) {
        return monad_async_task_suspend_for_duration(self, UINT64_MAX);
    });
    EXPECT_EQ(monad_async_task_set_name(one, "one").error, 0);
    EXPECT_EQ(monad_async_task_set_name(two, "two").error, 0);
    std::vector<monad_async_task> const all{one, two, joins, sleeps};
    for (auto const task : all) {
        ASSERT_EQ(monad_async_task_attach(ex, task).error, 0);
    }
    while (ex.poll() != 0) {
    }
    auto const text = waits_of(ex);
    auto const hex = [](void const *at) {
        char digits[32];
        snprintf(digits, sizeof digits, "%p", at);
        return std::string(digits);
    };
    auto const named = [&](monad_async_task task, char const *name) {
        return "task " + hex(task) + " \"" + name + "\"";
    };
    auto const has = [&](std::string const &line) {
        return text.find(line + "\n") != std::string::npos;
    };
    auto const i = named(one, "one"), ii = named(two, "two");
    EXPECT_TRUE(has(i + ": waits for mutex " + hex(&b) + ", which " + ii + " holds")) << text;
    EXPECT_TRUE(has(ii + ": waits for mutex " + hex(&a) + ", which " + i + " holds")) << text;
    EXPECT_TRUE(has("task " + hex(joins) + ": joins " + i)) << text;
    EXPECT_TRUE(has("task " + hex(sleeps) + ": sleeps for ever")) << text;
    EXPECT_TRUE(has("deadlock: " + i + " -> " + ii + " -> " + i) ||
                has("deadlock: " + ii + " -> " + i + " -> " + ii))
        << text;
    EXPECT_EQ(text.find("deadlock"), text.rfind("deadlock")) << "once: " << text;
    for (auto const task : all) {
        EXPECT_EQ(monad_async_task_cancel(ex, task).error, 0);
    }
    ex.finish();
    EXPECT_EQ(waits_of(ex), "");
    std::thread([&] {
        EXPECT_EQ(monad_async_executor_waits_text(ex, nullptr, 0).error, EPERM);
    }).join();
}

TEST(Waits, tell_of_a_mutex_that_a_thread_holds)
{
    Executor ex(0);
    monad_async_mutex held = MONAD_ASYNC_MUTEX_INIT;
    ASSERT_EQ(monad_async_mutex_lock(nullptr, &held).error, 0);
    Task wants([&](monad_async_task self) { return monad_async_mutex_lock(self, &held); });
    wants.attach(ex);
    while (ex.poll() != 0) {
    }
    auto const text = waits_of(ex);
    EXPECT_NE(text.find(", which a thread holds\n"), std::string::npos) << text;
    EXPECT_EQ(text.find("deadlock"), std::string::npos) << text;
    EXPECT_EQ(monad_async_mutex_unlock(nullptr, &held).error, 0);
    ex.finish();
    EXPECT_EQ(wants->result.error, 0);
}

// A task that holds what a child of its group wants.
TEST(Waits, tell_of_a_ring_through_a_group)
{
    Executor ex(0);
    monad_async_mutex held = MONAD_ASYNC_MUTEX_INIT;
    Task idles([](monad_async_task self) { return monad_async_task_park(self); });
    Task wants([&](monad_async_task self) { return monad_async_mutex_lock(self, &held); });
    Task parent([&](monad_async_task self) {
        monad_async_group group;
        EXPECT_EQ(monad_async_mutex_lock(self, &held).error, 0);
        EXPECT_EQ(monad_async_group_init(self, &group, 0).error, 0);
        EXPECT_EQ(monad_async_group_spawn(&group, idles).error, 0);
        EXPECT_EQ(monad_async_group_spawn(&group, wants).error, 0);
        EXPECT_EQ(monad_async_group_wait(self, &group).error, ECANCELED);
        EXPECT_EQ(monad_async_group_cancel(&group).error, 0);
        monad_async_scope shield;
        EXPECT_EQ(
            monad_async_scope_enter(self, &shield, UINT64_MAX, MONAD_ASYNC_SCOPE_SHIELD).error, 0);
        EXPECT_EQ(monad_async_group_wait(self, &group).error, ECANCELED);
        EXPECT_EQ(monad_async_scope_leave(self, &shield).error, 0);
        return monad_async_mutex_unlock(self, &held);
    });
    EXPECT_EQ(monad_async_task_set_name(parent, "parent").error, 0);
    EXPECT_EQ(monad_async_task_set_name(wants, "wants").error, 0);
    parent.attach(ex);
    while (ex.poll() != 0) {
    }
    auto const text = waits_of(ex);
    EXPECT_NE(text.find("\"parent\": waits for the children of a group\n"), std::string::npos)
        << text;
    auto const deadlock = text.substr(std::min(text.find("deadlock: "), text.size()));
    EXPECT_NE(deadlock.find("\"parent\" -> "), std::string::npos) << text;
    EXPECT_NE(deadlock.find("\"wants\" -> "), std::string::npos) << text;
    EXPECT_EQ(std::count(deadlock.begin(), deadlock.end(), '\n'), 1) << text;
    EXPECT_EQ(monad_async_task_cancel(ex, parent).error, 0);
    ex.finish();
}

} // namespace
