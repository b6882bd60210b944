"""The recipe for Conan 2:  conan create .

It takes nothing from a remote. The crates come from cargo's registry or, in the source tarball, from
vendor/; Rust itself is the machine's, and CMake refuses one that is too old.
"""

import os
import re

from conan import ConanFile
from conan.errors import ConanInvalidConfiguration
from conan.tools.cmake import CMake, CMakeToolchain, cmake_layout
from conan.tools.files import copy, load

required_conan_version = ">=2.0"


class MonadAsync(ConanFile):
    name = "monad_async"
    description = "An io_uring executor for stackful tasks, with a C API and a C++ RAII wrapper"
    license = "Apache-2.0"
    topics = ("io_uring", "coroutines", "executor", "asynchronous")
    package_type = "library"
    settings = "os", "arch", "compiler", "build_type"
    # A program has one of the two sanitizers: the library is then told of it, and not built with it.
    options = {"shared": [True, False], "asan": [True, False], "tsan": [True, False]}
    default_options = {"shared": False, "asan": False, "tsan": False}
    test_package_folder = "packaging/conan/test_package"
    # The benches, since cargo reads no manifest whose programs are not there.
    exports_sources = (
        "CMakeLists.txt", "Cargo.toml", "Cargo.lock", "build.rs", "LICENSE", "README.md",
        "CHANGELOG.md", "benches/*", "cmake/*", "cpp/*", "docs/*", "examples/*", "gdb/*",
        "include/*", "src/*", "tools/*", "vendor/*", ".cargo/*",
    )  # fmt: skip

    def set_version(self):
        header = load(self, os.path.join(self.recipe_folder, "include/monad/async/config.h"))
        parts = [
            re.search(rf"#define MONAD_ASYNC_VERSION_{part} (\d+)", header).group(1)
            for part in ("MAJOR", "MINOR", "PATCH")
        ]
        self.version = ".".join(parts)

    def validate(self):
        if self.settings.os != "Linux" or self.settings.arch not in ("x86_64", "armv8"):
            raise ConanInvalidConfiguration("monad_async needs Linux on x86_64 or armv8")
        if self.options.asan and self.options.tsan:
            raise ConanInvalidConfiguration("asan and tsan: a program has one of the sanitizers")

    def layout(self):
        cmake_layout(self)

    def generate(self):
        toolchain = CMakeToolchain(self)
        toolchain.user_presets_path = False
        toolchain.cache_variables["MONAD_ASYNC_LIBRARIES"] = self._library()
        toolchain.cache_variables["MONAD_ASYNC_ASAN"] = bool(self.options.asan)
        toolchain.cache_variables["MONAD_ASYNC_TSAN"] = bool(self.options.tsan)
        toolchain.cache_variables["MONAD_ASYNC_REMAP_PATHS"] = True
        toolchain.generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self):
        CMake(self).install()
        documents = os.path.join(self.package_folder, "share", "doc", "monad_async")
        for text in ("LICENSE", "THIRD_PARTY_LICENSES"):
            copy(self, text, documents, os.path.join(self.package_folder, "licenses"))

    def package_info(self):
        # find_package finds the package's own files: the same targets as without Conan.
        self.cpp_info.set_property("cmake_find_mode", "none")
        self.cpp_info.builddirs = [os.path.join("lib", "cmake", "monad_async")]
        # For build systems that are told what to link.
        self.cpp_info.set_property("pkg_config_name", "monad_async")
        self.cpp_info.libs = ["monad_async"]
        if not self.options.shared:
            self.cpp_info.system_libs = ["stdc++", "pthread", "m", "dl"]
        for option, sanitizer in (("asan", "address"), ("tsan", "thread")):
            if self.options.get_safe(option):
                self.cpp_info.sharedlinkflags = [f"-fsanitize={sanitizer}"]
                self.cpp_info.exelinkflags = [f"-fsanitize={sanitizer}"]
        if self.options.tsan:
            self.cpp_info.defines = ["MONAD_ASYNC_TELLS_TSAN"]

    def _library(self):
        return "shared" if self.options.shared else "static"
