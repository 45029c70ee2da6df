#!/bin/sh
# Checks that dependencies go one way: scripts/layers.sh [ROOT]
#
#   os <- core <- arena, pool <- heap <- lifetime <- observe <- tools
#
# A file in src/<layer>/ includes only files of its own and of lower layers. The public header x.h
# belongs to the layer that has x.c; one without an x.c belongs to the highest layer it includes.
# base.h lies below all of them, framealloc.h above. Public headers name no internal symbol and
# include, apart from each other, only headers of the C library. Programs, benchmarks and examples
# include nothing from src/. No two files of src/ have one name, as their objects lie in one folder.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=${1:-$here/..}
cd "$root" || exit 1

# shellcheck disable=SC2046 # File names of this tree have no blanks.
awk '
    BEGIN {
        rank["os"] = 1; rank["core"] = 2; rank["arena"] = 3; rank["pool"] = 3
        rank["heap"] = 4; rank["lifetime"] = 5; rank["observe"] = 6
        names = "assert ctype errno fenv float inttypes iso646 limits locale math setjmp signal " \
                "stdalign stdarg stdbool stddef stdint stdio stdlib string time uchar wchar wctype"
        n = split(names, list, " ")
        for (i = 1; i <= n; i++) { c_library[list[i] ".h"] = 1 }
        # Under __cplusplus a header may use these.
        n = split("cstddef cstdint initializer_list memory new type_traits utility", list, " ")
        for (i = 1; i <= n; i++) { c_library[list[i]] = 1 }
    }
    function complain(place, text) { printf "%s: %s\n", place, text; bad = 1 }
    function folder(path) { sub(/[^\/]*$/, "", path); return path }
    function base(path) { sub(/.*\//, "", path); return path }
    # a/b/../c -> a/c
    function resolve(path) {
        while (path ~ /[^\/.][^\/]*\/\.\.\//) { sub(/[^\/.][^\/]*\/\.\.\//, "", path) }
        while (path ~ /\/\.\//) { sub(/\/\.\//, "/", path) }
        sub(/^\.\//, "", path)
        return path
    }
    function layer_of(path,    part) {
        if (path !~ /^src\/[^\/]+\//) { return "" }
        split(path, part, "/")
        return part[2]
    }
    # The file an include means, or "" for one of the system.
    function target_of(from, text, quoted,    near) {
        near = resolve(folder(from) text)
        if (quoted && (near in exists)) { return near }
        if (("include/" text) in exists) { return "include/" text }
        return quoted ? near : ""
    }
    function header_rank(path,    i, n, list, highest, other, concept) {
        if (path == "include/framealloc/base.h") { return 0 }
        if (path == "include/framealloc/framealloc.h") { return 100 }
        if (path in known_rank) { return known_rank[path] }
        known_rank[path] = 0 # Ends a circle.
        concept = base(path)
        sub(/\.h$/, "", concept)
        if (concept in home) { return known_rank[path] = rank[home[concept]] }
        n = split(header_includes[path], list, " ")
        for (i = 1; i <= n; i++) {
            other = header_rank(list[i])
            if (other > highest) { highest = other }
        }
        return known_rank[path] = highest + 0
    }
    FNR == 1 { files[++file_count] = FILENAME; exists[FILENAME] = 1; in_comment = 0
        if (FILENAME ~ /^src\/[^\/]+\/[^\/]+\.c$/) {
            concept = base(FILENAME)
            sub(/\.c$/, "", concept)
            if (concept in home) {
                complain(FILENAME, "src/" home[concept] " has a " concept ".c too")
            }
            home[concept] = layer_of(FILENAME)
        }
    }
    /^[ \t]*#[ \t]*include[ \t]*[<"]/ {
        text = $0
        sub(/^[ \t]*#[ \t]*include[ \t]*/, "", text)
        quoted = substr(text, 1, 1) == "\""
        text = substr(text, 2)
        sub(/[>"].*/, "", text)
        k = ++include_count
        include_from[k] = FILENAME
        include_line[k] = FNR
        include_text[k] = text
        include_quoted[k] = quoted
        next
    }
    FILENAME ~ /^include\// && /fa__/ {
        complain(FILENAME ":" FNR, "a public header names an internal symbol")
    }
    END {
        for (i = 1; i <= file_count; i++) {
            layer = layer_of(files[i])
            if (layer != "" && !(layer in rank)) { complain(files[i], "src/" layer " is no layer") }
        }
        for (k = 1; k <= include_count; k++) {
            target[k] = target_of(include_from[k], include_text[k], include_quoted[k])
            if (include_from[k] ~ /^include\// && target[k] != "") {
                header_includes[include_from[k]] = header_includes[include_from[k]] " " target[k]
            }
        }
        for (k = 1; k <= include_count; k++) { judge(k, include_from[k], target[k]) }
        if (!bad) {
            printf "layers: %d files, %d includes, all one way\n", file_count, include_count
        }
        exit bad
    }
    function judge(k, from, to,    place, layer, other) {
        place = from ":" include_line[k]
        if (from ~ /^include\//) {
            if (to == "" && !(include_text[k] in c_library)) {
                complain(place, "a public header includes <" include_text[k] ">, an OS header")
            } else if (to != "" && to !~ /^include\//) {
                complain(place, "a public header includes " to)
            } else if (to != "" && header_rank(to) > header_rank(from)) {
                complain(place, base(from) " is of a lower layer than " base(to))
            }
            return
        }
        layer = layer_of(from)
        other = layer_of(to)
        if (layer == "") {
            if (other != "" && from !~ /^tests\//) {
                complain(place, "only the library and the tests include " to)
            }
            return
        }
        if (to == "") { return }
        if (!(to in exists)) { complain(place, to " does not exist"); return }
        if (to ~ /^include\//) {
            if (header_rank(to) > rank[layer]) {
                complain(place, "src/" layer " is below " base(to))
            }
        } else if (other == "") {
            complain(place, "the library includes " to)
        } else if (other != layer && rank[other] >= rank[layer]) {
            complain(place, "src/" layer " is not above src/" other)
        }
    }' $("$here/sources.sh" --root . c h cc cpp hpp inc def) /dev/null
