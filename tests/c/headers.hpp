// What the public headers say of their functions, for tests that are to forget none.
#ifndef MONAD_ASYNC_TESTS_C_HEADERS_HPP
#define MONAD_ASYNC_TESTS_C_HEADERS_HPP

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>

namespace support {

// Each function that the C headers declare, exported or in line, with its comment.
inline std::map<std::string, std::string> comments_of_functions()
{
    std::map<std::string, std::string> found;
    for (auto const &entry : std::filesystem::directory_iterator(MONAD_ASYNC_HEADERS)) {
        if (entry.path().extension() != ".h") {
            continue;
        }
        std::stringstream all;
        all << std::ifstream(entry.path()).rdbuf();
        auto const text = all.str();
        for (std::string const mark : {"MONAD_ASYNC_API ", "static inline "}) {
            for (size_t at = 0; (at = text.find("*/\n" + mark, at)) != std::string::npos; ++at) {
                auto const begin = text.rfind("/**", at);
                auto const open = text.find('(', at);
                auto const name = text.rfind("monad_async_", open);
                found[text.substr(name, open - name)] = text.substr(begin, at - begin);
            }
        }
    }
    return found;
}

// Whose comments have the word SUSPENDS.
inline std::set<std::string> suspending_calls()
{
    std::set<std::string> names;
    for (auto const &[name, comment] : comments_of_functions()) {
        if (comment.find("SUSPENDS") != std::string::npos) {
            names.insert(name);
        }
    }
    return names;
}

// The same, and whose comments say that they are as one of those: a local form, one with a time.
inline std::set<std::string> suspending_calls_and_forms()
{
    auto const comments = comments_of_functions();
    auto names = suspending_calls();
    std::regex const as(R"((?:/\*\* As|@return as) `(monad_async_\w+)`)");
    for (size_t before = 0; before != names.size();) {
        before = names.size();
        for (auto const &[name, comment] : comments) {
            for (std::sregex_iterator at(comment.begin(), comment.end(), as), end; at != end;
                 ++at) {
                if (names.count((*at)[1]) != 0) {
                    names.insert(name);
                }
            }
        }
    }
    return names;
}

} // namespace support

#endif
