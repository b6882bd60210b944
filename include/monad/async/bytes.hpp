#ifndef MONAD_ASYNC_BYTES_HPP
#define MONAD_ASYNC_BYTES_HPP

/** @file bytes.hpp
 *  Memory that a call reads or writes: a pointer and a size, taken from what holds them. */

#include "config.h"

#include <cstddef>
#include <iterator>
#include <type_traits>
#include <utility>

namespace monad::async {
inline namespace v0 {

/** @cond no API */
namespace detail {

// What `std::data` of it points to.
template <class Range>
using element_of = std::remove_pointer_t<decltype(std::data(std::declval<Range &>()))>;

// Contiguous, of plain bytes or what can be copied as such.
template <class Range, class = void> struct is_plain_range : std::false_type {};
template <class Range>
struct is_plain_range<Range,
                      std::void_t<element_of<Range>, decltype(std::size(std::declval<Range &>()))>>
    : std::is_trivially_copyable<element_of<Range>> {};

// Asks for the element only where there is one: what is no range is refused, and no error.
template <class Range, bool = is_plain_range<Range>::value>
inline constexpr bool is_writable_range = !std::is_const_v<element_of<Range>>;
template <class Range> inline constexpr bool is_writable_range<Range, false> = false;

} // namespace detail
/** @endcond */

/** Memory to be written: from a pointer and a size, a vector, a string, an array, a `std::span`.
 *  Owns nothing.
 *  @see socket.hpp, file.hpp */
class bytes {
public:
    /** @param data the first byte
     *  @param size how many there are */
    bytes(void *data, std::size_t size) noexcept : data_(data), size_(size) {}

    /** @param range contiguous, of elements that may be copied byte by byte */
    template <class Range, std::enable_if_t<detail::is_writable_range<Range> &&
                                                !std::is_base_of_v<bytes, std::decay_t<Range>>,
                                            int> = 0>
    bytes(Range &&range) noexcept // NOLINT: meant to convert
        : bytes(std::data(range), std::size(range) * sizeof(detail::element_of<Range>))
    {
    }

    /** @return the first byte */
    [[nodiscard]] unsigned char *data() const noexcept
    {
        return static_cast<unsigned char *>(data_);
    }

    /** @return how many there are */
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

    /** @return whether there is none */
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

private:
    void *data_;
    std::size_t size_;
};

/** Memory to be read: as `bytes`, and from what is constant. Owns nothing.
 *
 *  Of a `std::string`, a `std::string_view`, a vector and so on it is all that they have. Of a
 *  literal it is the text without the 0 that ends its array, in C++20 with gcc 11 or clang 17:
 *  there the compiler tells a literal from memory that happens to end with a 0. Else write
 *  `"text"sv`, and always `u8"text"sv`. Other arrays of `char` do not convert, as nobody knows
 *  where they are meant to end: `const_bytes(array, n)`.
 *  @see socket.hpp, file.hpp */
class const_bytes {
public:
    /** @param data the first byte
     *  @param size how many there are */
    const_bytes(void const *data, std::size_t size) noexcept : data_(data), size_(size) {}

    /** @param range contiguous, of elements that may be copied byte by byte */
    template <class Range, std::enable_if_t<detail::is_plain_range<Range const>::value &&
                                                !std::is_base_of_v<const_bytes, Range>,
                                            int> = 0>
    const_bytes(Range const &range) noexcept // NOLINT: meant to convert
        : const_bytes(std::data(range), std::size(range) * sizeof(detail::element_of<Range const>))
    {
    }

#if defined(__cpp_consteval) && __cpp_consteval >= 201811L
    /** The text of a literal, without the 0 behind it. Refused where there is another 0, or none.
     *  @param text what the compiler knows */
    template <std::size_t Size>
    consteval const_bytes(char const (&text)[Size]) noexcept // NOLINT: meant to convert
        : data_(text), size_(Size - 1)
    {
        for (std::size_t i = 0; i != Size; ++i) {
            if ((text[i] == 0) != (i == Size - 1)) {
                this_is_no_text_give_its_size();
            }
        }
    }
#else
    template <std::size_t Size>
    const_bytes(char const (&text)[Size]) = delete; // A literal? Write "text"sv, or C++20.
#endif
    template <std::size_t Size>
    const_bytes(char (&array)[Size]) = delete; // How much of it? Write const_bytes(array, n).
#if defined(__cpp_char8_t)
    template <std::size_t Size>
    const_bytes(char8_t const (&text)[Size]) = delete; // With its 0? Write u8"text"sv.
#endif

    /** @return the first byte */
    [[nodiscard]] unsigned char const *data() const noexcept
    {
        return static_cast<unsigned char const *>(data_);
    }

    /** @return how many there are */
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

    /** @return whether there is none */
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

private:
    // No function, but a message of the compiler's.
    static void this_is_no_text_give_its_size() noexcept;

    void const *data_;
    std::size_t size_;
};

} // namespace v0
} // namespace monad::async

#endif
