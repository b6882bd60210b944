# Writes each fenced block of a page to a file of its own, with a line that names where it stands:
#   awk -v out=DIRECTORY -v page=NAME -f docs_blocks.awk PAGE
# DIRECTORY/NAME.LINE.cpp, .c and .output; of `output` the line is that of the block before it.
/^```[a-z]/ && !inside {
    inside = 1
    language = substr($0, 4)
    if (language != "output") {
        line = NR
    }
    file = out "/" page "." line "." language
    printf "" >file
    if (language == "c" || language == "cpp") {
        printf "#line %d \"%s\"\n", NR + 1, FILENAME >>file
    }
    next
}
/^```$/ {
    inside = 0
    close(file)
    next
}
inside { print >>file }
