// Groups of tasks, and tasks that are let go.

#include "support.hpp"

#include <monad/async/group.h>
#include <monad/async/op.h>
#include <monad/async/poll.h>
#include <monad/async/remote.h>
#include <monad/async/scope.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <poll.h>

using namespace support;

namespace {

monad_async_result failure(int error)
{
    return monad_async_make_failure(error);
}

monad_async_result sleep_long(monad_async_task task)
{
    return sleep_ns(task, UINT64_MAX);
}

std::atomic<int> exits{0};

} // namespace

TEST(Group, waits_for_all_children)
{
    Executor ex(0);
    int done = 0;
    auto children = make_tasks(5, [&](monad_async_task task, size_t i) {
        for (size_t k = 0; k < i; ++k) {
            (void)yield(task);
        }
        ++done;
        return success();
    });
    Task parent([&](monad_async_task self) {
        monad_async_group group;
        EXPECT_EQ(monad_async_group_init(self, &group, 0).error, 0);
        EXPECT_EQ(monad_async_group_wait(self, &group).error, 0); // no child
        for (auto const &child : children) {
            EXPECT_EQ(monad_async_group_spawn(&group, child).error, 0);
        }
        EXPECT_EQ(monad_async_group_spawn(&group, children[0]).error, EBUSY);
        EXPECT_EQ(monad_async_group_count(&group).value, 5);
        auto const r = monad_async_group_wait(self, &group);
        EXPECT_EQ(done, 5);
        return r;
    });
    parent.attach(ex);
    ex.finish();
    EXPECT_EQ(parent->result.error, 0);
}

TEST(Group, takes_many_at_once)
{
    Executor ex(0);
    int done = 0;
    auto children = make_tasks(4, [&](monad_async_task, size_t) {
        ++done;
        return success();
    });
    Task parent([&](monad_async_task self) {
        monad_async_group group;
        EXPECT_EQ(monad_async_group_init(self, &group, 0).error, 0);
        monad_async_task const all[] = {children[0], children[1], children[2], children[3]};
        EXPECT_EQ(monad_async_group_spawn_many(nullptr, all, 4).error, EINVAL);
        EXPECT_EQ(monad_async_group_spawn_many(&group, nullptr, 4).error, EINVAL);
        EXPECT_EQ(monad_async_group_spawn_many(&group, nullptr, 0).value, 0);
        EXPECT_EQ(monad_async_group_spawn_many(&group, all + 2, 1).value, 1);
        // Up to the first that is attached already.
        EXPECT_EQ(monad_async_group_spawn_many(&group, all, 4).value, 2);
        EXPECT_EQ(monad_async_group_spawn_many(&group, all, 4).error, EBUSY);
        EXPECT_EQ(children[0]->ticks_when_attached, children[1]->ticks_when_attached);
        EXPECT_EQ(monad_async_group_count(&group).value, 3);
        EXPECT_EQ(monad_async_group_wait(self, &group).error, 0);
        EXPECT_EQ(done, 3);
        EXPECT_EQ(monad_async_group_cancel(&group).error, 0);
        auto const r = monad_async_group_spawn_many(&group, all, 4);
        EXPECT_EQ(r.error, ECANCELED);
        return success();
    });
    parent.attach(ex);
    ex.finish();
    EXPECT_EQ(parent->result.error, 0);
}

// Of a group that does not list them, either.
TEST(Group, children_that_come_at_once_are_cancelled_and_told_of_as_others)
{
    Executor ex(0);
    enum { succeed, fail, wait } does = succeed;
    auto children = make_tasks(4, [&](monad_async_task self, size_t i) {
        return does == succeed || i == 0 ? monad_async_make_success(static_cast<intptr_t>(i))
               : does == fail && i == 2  ? failure(EIO)
                                         : sleep_long(self);
    });
    monad_async_task row[] = {children[0], children[1], children[2], children[3]};
    Task parent([&](monad_async_task self) {
        monad_async_group group;
        EXPECT_EQ(monad_async_group_init(self, &group, MONAD_ASYNC_GROUP_AT_ONCE).error, 0);
        EXPECT_EQ(monad_async_group_cancel(&group).error, 0); // Of none.
        EXPECT_EQ(monad_async_group_wait(self, &group).error, 0);
        EXPECT_EQ(monad_async_group_spawn(&group, row[0]).error, EINVAL);
        EXPECT_EQ(monad_async_group_spawn_many(&group, row, 4).value, 4);
        EXPECT_EQ(monad_async_group_spawn_many(&group, row, 4).error, EBUSY);
        EXPECT_EQ(monad_async_group_count(&group).value, 4);
        EXPECT_EQ(monad_async_group_wait(self, &group).error, 0);
        for (size_t i = 0; i != 4; ++i) {
            EXPECT_EQ(children[i]->result.value, static_cast<intptr_t>(i));
        }

        does = fail; // The first has exited, the second sleeps, and the last has not begun.
        EXPECT_EQ(monad_async_group_spawn_many(&group, row, 4).value, 4);
        EXPECT_EQ(monad_async_group_wait(self, &group).error, EIO);
        EXPECT_EQ(children[0]->result.error, 0);
        EXPECT_EQ(children[1]->result.error, ECANCELED);
        EXPECT_EQ(children[3]->result.error, ECANCELED);

        does = wait;
        exits = 0;
        (void)monad_async_group_on_exit(
            &group, [](monad_async_task, monad_async_result) noexcept { ++exits; });
        EXPECT_EQ(monad_async_group_spawn_many(&group, row, 4).value, 4);
        (void)yield(self);
        EXPECT_EQ(monad_async_group_count(&group).value, 3);
        EXPECT_EQ(monad_async_group_spawn_many(&group, row, 1).error, EBUSY); // Others are left.
        EXPECT_EQ(monad_async_group_cancel(&group).error, 0);
        EXPECT_EQ(monad_async_group_spawn_many(&group, row, 4).error, ECANCELED);
        EXPECT_EQ(monad_async_group_wait(self, &group).error, ECANCELED);
        EXPECT_EQ(exits, 4);

        // Those before the first that is refused.
        does = wait;
        monad_async_task const some[] = {row[1], row[2], row[1], row[3]};
        EXPECT_EQ(monad_async_group_spawn_many(&group, some, 4).value, 2);
        EXPECT_EQ(monad_async_group_cancel(&group).error, 0);
        EXPECT_EQ(monad_async_group_count(&group).value, 0); // They had not begun.
        EXPECT_EQ(exits, 6);
        EXPECT_EQ(monad_async_group_wait(self, &group).error, ECANCELED);
        return success();
    });
    parent.attach(ex);
    ex.finish();
    EXPECT_EQ(parent->result.error, 0);
}

TEST(Group, the_first_child_that_fails_cancels_the_others)
{
    Executor ex(0);
    Task waiting(sleep_long), other(sleep_long),
        pending([](monad_async_task) { return success(); });
    Task failing([&](monad_async_task task) {
        (void)yield(task);
        return failure(EIO);
    });
    Task parent([&](monad_async_task self) {
        monad_async_group group;
        (void)monad_async_group_init(self, &group, 0);
        for (auto *child : {&waiting, &failing, &other}) {
            (void)monad_async_group_spawn(&group, *child);
        }
        auto r = monad_async_group_wait(self, &group);
        EXPECT_EQ(r.error, EIO);
        EXPECT_EQ(waiting->result.error, ECANCELED);
        EXPECT_EQ(other->result.error, ECANCELED);
        // As new.
        (void)monad_async_group_spawn(&group, pending);
        EXPECT_EQ(monad_async_group_cancel(&group).error, 0);
        EXPECT_EQ(pending->result.error, ECANCELED); // never launched
        EXPECT_EQ(monad_async_group_spawn(&group, pending).error, ECANCELED);
        r = monad_async_group_wait(self, &group);
        EXPECT_EQ(r.error, ECANCELED);
        (void)monad_async_group_spawn(&group, pending);
        return monad_async_group_wait(self, &group);
    });
    parent.attach(ex);
    ex.finish();
    EXPECT_EQ(parent->result.error, 0);
}

// Children that launch one behind another and succeed are counted out between two launches: not
// those that somebody is to hear of.
TEST(Group, of_children_that_launch_in_a_row_all_are_told_of_that_must_be)
{
    Executor ex(0);
    bool fails = false;
    auto children = make_tasks(4, [&](monad_async_task, size_t i) {
        return fails && i == 1 ? failure(EIO) : monad_async_make_success(static_cast<intptr_t>(i));
    });
    monad_async_task const all[] = {children[0], children[1], children[2], children[3]};
    intptr_t joined = -1;
    Task joiner([&](monad_async_task self) {
        joined = monad_async_task_join(self, children[2]).value;
        return success();
    });
    Task parent([&](monad_async_task self) {
        monad_async_group group;
        (void)monad_async_group_init(self, &group, 0);
        EXPECT_EQ(monad_async_group_spawn_many(&group, all, 4).value, 4);
        EXPECT_EQ(monad_async_group_wait(self, &group).error, 0);
        EXPECT_EQ(monad_async_group_count(&group).value, 0);
        joiner.attach(ex);
        EXPECT_EQ(monad_async_group_spawn_many(&group, all, 4).value, 4);
        EXPECT_EQ(monad_async_group_wait(self, &group).error, 0);
        (void)yield(self);
        EXPECT_EQ(joined, 2);
        fails = true;
        EXPECT_EQ(monad_async_group_spawn_many(&group, all, 4).value, 4);
        EXPECT_EQ(monad_async_group_wait(self, &group).error, EIO);
        EXPECT_EQ(children[0]->result.error, 0);
        EXPECT_EQ(children[3]->result.error, ECANCELED); // never launched
        fails = false;
        exits = 0;
        (void)monad_async_group_on_exit(
            &group, [](monad_async_task, monad_async_result) noexcept { ++exits; });
        EXPECT_EQ(monad_async_group_spawn_many(&group, all, 4).value, 4);
        EXPECT_EQ(monad_async_group_wait(self, &group).error, 0);
        EXPECT_EQ(exits, 4);
        exits = 0;
        (void)monad_async_group_init(self, &group, MONAD_ASYNC_GROUP_SHORT_EXITS);
        (void)monad_async_group_on_exit(&group,
                                        [](monad_async_task t, monad_async_result r) noexcept {
                                            EXPECT_TRUE(monad_async_task_has_exited(t));
                                            EXPECT_EQ(r.value, t->result.value);
                                            ++exits;
                                        });
        EXPECT_EQ(monad_async_group_spawn_many(&group, all, 4).value, 4);
        EXPECT_EQ(monad_async_group_wait(self, &group).error, 0);
        EXPECT_EQ(exits, 4);
        fails = true;
        EXPECT_EQ(monad_async_group_spawn_many(&group, all, 4).value, 4);
        EXPECT_EQ(monad_async_group_wait(self, &group).error, EIO);
        EXPECT_EQ(exits, 8);
        EXPECT_EQ(monad_async_group_init(self, &group, 8).error, EINVAL);
        return success();
    });
    parent.attach(ex);
    ex.finish();
    EXPECT_EQ(parent->result.error, 0);
}

// What a child has left open is closed for it, though it has succeeded, and others launch behind it.
TEST(Group, of_children_that_launch_in_a_row_what_is_left_open_is_closed)
{
    Executor ex(8);
    Pipe const pipe;
    static monad_async_scope scope;
    static monad_async_op op;
    op = {};
    auto children = make_tasks(6, [&](monad_async_task self, size_t i) {
        if (i == 1) {
            EXPECT_EQ(monad_async_scope_enter(self, &scope, UINT64_MAX, 0).error, 0);
        } else if (i == 3) {
            monad_async_op_poll(&op, pipe.reader, POLLIN);
            EXPECT_EQ(monad_async_op_begin(self, &op).error, 0);
        }
        return success();
    });
    std::vector<monad_async_task> all(children.begin(), children.end());
    Task parent([&](monad_async_task self) {
        monad_async_group group;
        (void)monad_async_group_init(self, &group, MONAD_ASYNC_GROUP_INDEPENDENT);
        EXPECT_EQ(monad_async_group_spawn_many(&group, all.data(), all.size()).value, 6);
        EXPECT_EQ(monad_async_group_wait(self, &group).error, EINVAL);
        EXPECT_FALSE(op.is_in_flight);
        return success();
    });
    parent.attach(ex);
    ex.finish();
    for (size_t i = 0; i != children.size(); ++i) {
        EXPECT_EQ(children[i]->result.error, i == 1 ? EINVAL : 0) << i;
    }
}

TEST(Group, independent_children_cancel_nobody)
{
    Executor ex(0);
    Task failing([](monad_async_task) { return failure(EIO); });
    Task other([](monad_async_task task) {
        EXPECT_EQ(yield(task).error, 0);
        EXPECT_EQ(sleep_ns(task, ms).error, 0);
        return success(1);
    });
    Task parent([&](monad_async_task self) {
        monad_async_group group;
        (void)monad_async_group_init(self, &group, MONAD_ASYNC_GROUP_INDEPENDENT);
        (void)monad_async_group_spawn(&group, failing);
        (void)monad_async_group_spawn(&group, other);
        return monad_async_group_wait(self, &group);
    });
    parent.attach(ex);
    ex.finish();
    EXPECT_EQ(parent->result.error, EIO);
    EXPECT_EQ(other->result.value, 1);
}

TEST(Group, a_wait_that_is_interrupted_can_be_made_again)
{
    Executor ex(0);
    Task child([](monad_async_task task) { return sleep_ns(task, 2 * ms); });
    Task parent([&](monad_async_task self) {
        monad_async_group group;
        monad_async_scope scope;
        (void)monad_async_group_init(self, &group, 0);
        (void)monad_async_group_spawn(&group, child);
        (void)monad_async_scope_enter(self, &scope, 1000, 0);
        EXPECT_EQ(monad_async_group_wait(self, &group).error, ETIME);
        EXPECT_EQ(monad_async_group_wait(self, &group).error, ETIME);
        (void)monad_async_scope_leave(self, &scope);
        return monad_async_group_wait(self, &group);
    });
    parent.attach(ex);
    ex.finish();
    EXPECT_EQ(parent->result.error, 0);
    EXPECT_EQ(child->result.error, 0);
}

TEST(Group, mistakes_are_told)
{
    Executor ex(0), other(0);
    monad_async_group group;
    EXPECT_EQ(monad_async_group_init(nullptr, &group, 0).error, EINVAL);
    Task child, late([](monad_async_task) { return success(); });
    Task parent([&](monad_async_task self) {
        EXPECT_EQ(monad_async_group_init(self, nullptr, 0).error, EINVAL);
        EXPECT_EQ(monad_async_group_init(self, &group, 8).error, EINVAL);
        EXPECT_EQ(monad_async_group_init(self, &group, 0).error, 0);
        (void)monad_async_group_spawn(&group, child);
        return monad_async_group_wait(self, &group);
    });
    child.body([&](monad_async_task self) {
        EXPECT_EQ(monad_async_group_wait(self, &group).error, EDEADLK);
        (void)yield(self);
        Task second([&](monad_async_task task) {
            EXPECT_EQ(monad_async_group_wait(task, &group).error, EBUSY);
            return success();
        });
        second.attach(ex);
        (void)monad_async_task_join(self, second);
        std::thread([&] {
            EXPECT_EQ(monad_async_group_spawn(&group, late).error, EPERM);
            EXPECT_EQ(monad_async_group_cancel(&group).error, EPERM);
        }).join();
        return success();
    });
    parent.attach(ex);
    ex.finish();
    EXPECT_EQ(parent->result.error, 0);
}

// `a` waits for `b`, that for `c`, and that for `a`: twice for a group, and once by a join, or for a
// group, too. The last one is refused: each waited for the others for ever.
TEST(Group, the_last_of_a_ring_is_refused)
{
    for (int const last : {0, 1, 2}) {
        for (bool const joins : {false, true}) {
            Executor ex(0);
            monad_async_group groups[3];
            monad_async_result got[3] = {};
            std::vector<Task> tasks;
            tasks = make_tasks(3, [&](monad_async_task self, size_t i) {
                // The one behind the last comes first.
                for (int n = 0; n != (static_cast<int>(i) - last + 2) % 3; ++n) {
                    EXPECT_EQ(yield(self).error, 0);
                }
                auto const waits = [&] { return monad_async_group_wait(self, &groups[i]); };
                got[i] = i == 2 && joins ? monad_async_task_join(self, tasks[0]) : waits();
                if (got[i].error == EDEADLK && !(i == 2 && joins)) {
                    EXPECT_EQ(monad_async_group_cancel(&groups[i]).error, 0);
                    monad_async_scope shield;
                    EXPECT_EQ(
                        monad_async_scope_enter(self, &shield, UINT64_MAX, MONAD_ASYNC_SCOPE_SHIELD)
                            .error,
                        0);
                    (void)waits();
                    (void)monad_async_scope_leave(self, &shield);
                }
                return success();
            });
            Task starts([&](monad_async_task self) {
                for (size_t i = 0; i != 3; ++i) {
                    EXPECT_EQ(
                        monad_async_group_init(self, &groups[i], MONAD_ASYNC_GROUP_INDEPENDENT)
                            .error,
                        0);
                }
                for (size_t i = 0; i != 3; ++i) {
                    if (i == 2 && joins) {
                        tasks[0].attach(ex);
                    } else {
                        EXPECT_EQ(monad_async_group_spawn(&groups[i], tasks[(i + 1) % 3]).error, 0);
                    }
                }
                return success();
            });
            starts.attach(ex);
            ex.finish();
            for (int i = 0; i != 3; ++i) {
                EXPECT_EQ(got[i].error == EDEADLK, i == last) << i << last << joins;
            }
        }
    }
}

TEST(Group, a_child_is_joined_and_grouped)
{
    Executor ex(0);
    Task child([](monad_async_task task) {
        (void)yield(task);
        return success(3);
    });
    Task joiner([&](monad_async_task self) { return monad_async_task_join(self, child); });
    Task parent([&](monad_async_task self) {
        monad_async_group group;
        (void)monad_async_group_init(self, &group, 0);
        (void)monad_async_group_spawn(&group, child);
        joiner.attach(ex);
        return monad_async_group_wait(self, &group);
    });
    parent.attach(ex);
    ex.finish();
    EXPECT_EQ(joiner->result.value, 3);
}

TEST(Spawn, tells_of_the_exit_from_any_thread)
{
    Executor ex(0);
    monad_async_remote remote;
    ASSERT_EQ(monad_async_remote_acquire(ex, &remote).error, 0);
    exits = 0;
    auto const on_exit = [](monad_async_task task, monad_async_result r) {
        EXPECT_EQ(r.value, 7);
        EXPECT_TRUE(monad_async_task_has_exited(task));
        ++exits;
        EXPECT_EQ(monad_async_task_destroy(task).error, 0);
    };
    auto const make = [] {
        monad_async_task task;
        EXPECT_EQ(monad_async_task_create(&task, nullptr).error, 0);
        task->user_code = [](monad_async_task self) {
            (void)yield(self);
            return success(7);
        };
        return task;
    };
    EXPECT_EQ(monad_async_task_spawn(ex, make(), on_exit).error, 0);
    std::thread([&] {
        EXPECT_EQ(monad_async_task_spawn(ex, make(), on_exit).error, 0);
        EXPECT_EQ(monad_async_remote_spawn(remote, make(), on_exit).error, 0);
    }).join();
    ex.finish();
    EXPECT_EQ(exits, 3);
    monad_async_remote_release(remote);
}

TEST(Spawn, a_run_that_never_began_is_told_too_and_the_next_run_is_not)
{
    Executor ex(0);
    exits = 0;
    Task task([](monad_async_task) { return success(); });
    auto const on_exit = [](monad_async_task, monad_async_result r) {
        EXPECT_EQ(r.error, ECANCELED);
        ++exits;
    };
    EXPECT_EQ(monad_async_task_spawn(ex, task, on_exit).error, 0);
    EXPECT_EQ(monad_async_task_cancel(ex, task).error, 0);
    EXPECT_EQ(exits, 1);
    task.attach(ex);
    ex.finish();
    EXPECT_EQ(exits, 1);
}
