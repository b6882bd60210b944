# Whether every link of a site leads somewhere: awk -f links.awk *.html *.html, each file twice. The first time it notes
# the anchors of each page, the second time it looks for what links name. Prints what is missing.
FNR == 1 { ++times[FILENAME] }
times[FILENAME] == 1 {
    rest = $0
    while (match(rest, /(id|name)="[^"]*"/)) {
        anchor = substr(rest, RSTART, RLENGTH)
        sub(/^(id|name)="/, "", anchor)
        sub(/"$/, "", anchor)
        anchors[FILENAME, anchor]
        rest = substr(rest, RSTART + RLENGTH)
    }
    next
}
{
    rest = $0
    while (match(rest, /(href|src)="[^"]*"/)) {
        link = substr(rest, RSTART, RLENGTH)
        rest = substr(rest, RSTART + RLENGTH)
        sub(/^(href|src)="/, "", link)
        sub(/"$/, "", link)
        # The last one: Doxygen lists nested classes where all are hidden.
        if (link ~ /^(https?:|javascript:|mailto:|data:|#nested-classes$|$)/) {
            continue
        }
        ++links
        page = link
        sub(/#.*/, "", page)
        anchor = ""
        if (index(link, "#")) {
            anchor = substr(link, index(link, "#") + 1)
        }
        if (page == "") {
            page = FILENAME
        }
        if (!(page in there)) {
            # In single quotes: a file's name is no command.
            there[page] = page in times || system("test -e '" page "'") == 0
        }
        # Doxygen links to a member of a struct without a name, and gives it no anchor.
        nameless = page ~ /^structmonad__async__(task__head|executor__attr)\.html$/
        if (!there[page] || anchor != "" && page in times && !nameless && !((page, anchor) in anchors)) {
            print FILENAME ": " link
            wrong = 1
        }
    }
}
END {
    print "measured: " links " links"
    exit wrong || links < 1000
}
