/* A program that loads plugins and knows nothing of the library.
 *
 *   host load PLUGIN...     loads each and calls it; prints how many did
 *   host unload PLUGIN      a handler of SIGSEGV from before works on once the plugin is unloaded
 *   host later PLUGIN       the same with a handler from after the plugin's
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static sigjmp_buf back;

static void recover(int signal)
{
    (void)signal;
    siglongjmp(back, 1);
}

static void recover_otherwise(int signal)
{
    (void)signal;
    siglongjmp(back, 2);
}

static int fault(void)
{
    int const how = sigsetjmp(back, 1);
    if (how == 0) {
        *(int volatile *)8 = 1;
    }
    return how;
}

static void install(void (*handler)(int))
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    sigaction(SIGSEGV, &action, NULL);
}

/* What a thread that uses the plugin and lives on does when the plugin is gone. */
static pthread_barrier_t used, gone;

static void *use(void *plug)
{
    long const failed = ((int (*)(void))plug)();
    pthread_barrier_wait(&used);
    pthread_barrier_wait(&gone);
    return (void *)failed; /* and leaves, with all that the plugin gave to it */
}

static int is_mapped(void *address)
{
    Dl_info info;
    return dladdr(address, &info) != 0;
}

static int unload(char const *file, int later)
{
    pthread_t thread;
    void *failed;
    int status;
    install(recover);
    void *const plugin = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (plugin == NULL) {
        puts(dlerror());
        return 1;
    }
    void *const plug = dlsym(plugin, "plug");
    if (((int (*)(void))plug)() != 0) {
        return 2;
    }
    pthread_barrier_init(&used, NULL, 2);
    pthread_barrier_init(&gone, NULL, 2);
    pthread_create(&thread, NULL, use, plug);
    pthread_barrier_wait(&used);
    if (fault() != 1) {
        return 3;
    }
    if (later) {
        install(recover_otherwise);
    }
    dlclose(plugin);
    if (is_mapped(plug)) {
        return 4; /* not what this is to show */
    }
    if (fault() != (later ? 2 : 1)) {
        return 5;
    }
    pthread_barrier_wait(&gone);
    pthread_join(thread, &failed);
    pid_t const child = fork();
    if (child == 0) {
        _exit(fault());
    }
    waitpid(child, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != (later ? 2 : 1)) {
        return 6;
    }
    return failed != NULL ? 7 : 0;
}

int main(int argc, char **argv)
{
    int i, loaded = 0;
    if (argc == 3 && strcmp(argv[1], "load") != 0) {
        return unload(argv[2], strcmp(argv[1], "later") == 0);
    }
    for (i = 2; i < argc; ++i) {
        void *const plugin = dlopen(argv[i], RTLD_NOW | RTLD_LOCAL);
        if (plugin == NULL) {
            fprintf(stderr, "%s\n", dlerror());
            break;
        }
        if (((int (*)(void))dlsym(plugin, "plug"))() != 0) {
            return 1;
        }
        ++loaded;
    }
    printf("%d\n", loaded);
    return 0;
}
