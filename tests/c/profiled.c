/* To be preloaded: a profiler's signal, a thousand times for each second that the program works, in
 * whichever thread works. What the signal does to a program's own waits is the program's business:
 * it restarts what can be restarted, and io_uring_enter is not among that. */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

static sig_atomic_t volatile signals;

static void count(int signal)
{
    (void)signal;
    ++signals;
}

/* A child of fork has no timer, and says nothing. */
static pid_t whole;

static void say(void)
{
    if (getpid() == whole) {
        fprintf(stderr, "profiled: %d signals\n", (int)signals);
    }
}

__attribute__((constructor)) static void start(void)
{
    struct sigaction action = {0};
    action.sa_handler = count;
    action.sa_flags = SA_RESTART;
    struct itimerval const each_ms = {{0, 1000}, {0, 1000}};
    if (sigaction(SIGPROF, &action, NULL) != 0 || setitimer(ITIMER_PROF, &each_ms, NULL) != 0) {
        perror("profiled");
        abort();
    }
    whole = getpid();
    unsetenv("LD_PRELOAD"); /* What it executes says nothing, either. */
    atexit(say);
}
