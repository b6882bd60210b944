// Loads the plugin, whose C++ runtime is not this program's, has it use an executor of this program,
// and unloads it.
#include <monad/async.hpp>

#include <cstdio>

#include <dlfcn.h>

namespace {

// As in the plugin, of the same type, which must not be taken for one another.
void does_nothing() {}

} // namespace

int main(int argc, char **argv)
{
    {
        monad::async::thread_pool pool(1);
        pool.spawn(&does_nothing);
    }
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
        if (wrong != 0) {
            return 1;
        }
    }
    ::dlclose(plugin);
    bool const stays = ::dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD) != nullptr;
    std::printf("the plugin stays: %d\n", stays);
    return stays;
}
