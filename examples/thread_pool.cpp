// Ten lines: background work on all processors, and urgent work that overtakes it.
#include <monad/async.hpp>

#include <cstdio>
#include <numeric>
#include <vector>

namespace ma = monad::async;

int main()
{
    //! [a pool]
    ma::thread_pool pool;
    std::vector<unsigned long> squares(100'000);
    std::iota(squares.begin(), squares.end(), 0ul);
    auto const squares_all = [&] { pool.for_each(squares, [](auto &n) { n *= n; }); };
    auto background = pool.submit(squares_all, ma::priority::low);
    auto urgent = pool.submit([] { return 6 * 7; }, ma::priority::high);
    std::printf("the urgent one says %d\n", urgent.get());
    background.get();
    std::printf("the sum of the squares is %lu\n", std::reduce(squares.begin(), squares.end()));
    //! [a pool]
    return squares[99'999] == 9'999'800'001 ? 0 : 1;
}
