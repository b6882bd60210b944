// Loads the plugin, whose C++ runtime is not this program's, and has it use an executor of this
// program.
#include <monad/async.hpp>

#include <cstdio>

#include <dlfcn.h>

int main(int argc, char **argv)
{
    void *const plugin = argc == 2 ? ::dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : nullptr;
    if (plugin == nullptr) {
        std::printf("no plugin: %s\n", ::dlerror());
        return 2;
    }
    auto *const run =
        reinterpret_cast<int (*)(monad_async_executor)>(::dlsym(plugin, "plugin_main"));
    // As another one's exception would do, were the two runtimes one.
    try {
        throw 3;
    } catch (int) {
        monad::async::executor ex;
        int const wrong = run(ex.native_handle());
        std::printf("exceptions of another task: %d\n", wrong);
        return wrong != 0;
    }
}
