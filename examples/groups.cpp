// Callables as children of a task, all of them or the first; a lock, a channel and a select between
// them; and a future, asked for from a plain thread.
#include <monad/async.hpp>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <string>
#include <thread>
#include <variant>

namespace ma = monad::async;
using namespace std::chrono_literals;

namespace {

int count_words(std::string const &text)
{
    ma::this_task::sleep_for(1ms); // as if it were read
    int words = 0;
    for (char c : text) {
        words += c == ' ' ? 1 : 0;
    }
    return words + 1;
}

int in_a_group()
{
    //! [a group of tasks]
    int total = 0;
    ma::local_mutex mutex;
    ma::task_group group;
    for (auto const *text : {"one two", "three", "four five six"}) {
        group.spawn([&, text] {
            int const words = count_words(text);
            std::lock_guard const lock(mutex);
            total += words;
        });
    }
    group.wait(); // throws what the first that throws does, with the others cancelled
    //! [a group of tasks]
    return total;
}

std::string first_answer()
{
    auto answer = ma::when_any(
        [] {
            ma::this_task::sleep_for(1h);
            return std::string("slow");
        },
        [] { return std::string("fast"); });
    return std::visit([](auto &&x) { return x; }, std::move(answer));
}

int through_a_channel()
{
    ma::local_channel<int> numbers(2);
    auto [sent, sum] = ma::when_all(
        [&] {
            for (int i = 1; i <= 10; ++i) {
                numbers.send(i);
            }
            numbers.close();
            return 10;
        },
        [&] {
            int all = 0;
            for (bool open = true; open;) {
                ma::select(ma::on_recv(numbers,
                                       [&](auto x) {
                                           open = x.has_value();
                                           all += x.value_or(0);
                                       }),
                           ma::on_timeout(1s, [] { std::cout << "still waiting\n"; }));
            }
            return all;
        });
    return sum + sent;
}

} // namespace

int main()
{
    ma::executor ex;
    int words = 0, sum = 0;
    std::string answer;
    ex.spawn([&] {
        words = in_a_group();
        answer = first_answer();
        sum = through_a_channel();
    });
    int from_thread = 0;
    std::thread asking([&, ref = ex.ref()] {
        auto future = ref.submit([] { return count_words("a b c"); });
        from_thread = future.get(); // blocks this thread
        ref.stop();
    });
    ex.run_until_stopped();
    ex.run_until_idle();
    asking.join();
    std::cout << words << " words, " << answer << ", sum " << sum << ", from a thread "
              << from_thread << '\n';
    return words == 6 && answer == "fast" && sum == 65 && from_thread == 3 ? EXIT_SUCCESS
                                                                           : EXIT_FAILURE;
}
