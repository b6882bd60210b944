# For Doxygen, which reads the Markdown pages through this: links that lead to files of the source tree
# lead to pages of the site instead.

# An example: its page.
s,\]\((\.\./)?examples/([a-z_]+)\.(c|cpp|h|hpp)\),](\2_8\3-example.html),g

# The headers.
s,\]\((\.\./)?include/monad/async\),](files.html),g

# What is not on the site: its name stands.
s,\[([^]]*)\]\((\.\./)?(cmake|src|tests|tools|benches)/[^)]*\),\1,g
