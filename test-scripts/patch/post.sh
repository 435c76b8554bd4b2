# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What make post writes.
. "$top/test-scripts/patch/series.sh"
. "$top/scripts/parts.sh"

requires() { (need b4 git-filter-repo) || { echo "tools are missing and cannot be installed: b4 git-filter-repo"; return 1; }; }

header() { sed -n "/^$1: /I,/^[^ 	]/p; /^\$/q" "$2" | sed "1!{/^[^ \t]/,\$d}" | tr -d "\n"; }

# check PART: what is in $out/PART
check() {
	local part=$1 mails=("$out/$1"/*.eml) want cover id m
	want=$(series_patches | grep -c "^$part/")
	[ ${#mails[@]} = $((want > 1 ? want + 1 : want)) ] || { fail "$part: ${#mails[@]} mails for $want patches"; return; }
	cover=${mails[0]}
	id=$(header Message-Id "$cover" | grep -o '<.*>')
	if [ "$want" -gt 1 ]; then
		[[ $(header Subject "$cover") == *"0/$want] $(part_title "$part")" ]] ||
			{ fail "$part: the cover letter's subject is '$(header Subject "$cover")'"; return; }
		grep -qE '^base-commit: [0-9a-f]{40}' "$cover" || { fail "$part: the cover letter names no base-commit"; return; }
	fi
	# The first line of the section, wherever b4 has put it
	grep -qF "$(cover_section "$part" | head -n 1)" "$cover" || { fail "$part: the cover letter is not the section of cover-letter.txt"; return; }
	for m in "${mails[@]}"; do
		header To "$m" | grep -q @ || { fail "${m#"$top"/} goes to nobody"; return; }
		{ header To "$m"; header Cc "$m"; } | grep -q 'linux-kernel@vger' || { fail "${m#"$top"/} does not go to the list"; return; }
		[ "$m" = "$cover" ] || [ "$(header In-Reply-To "$m" | grep -o '<.*>')" = "$id" ] ||
			{ fail "${m#"$top"/} is not a reply to the cover letter"; return; }
		! grep -q '^Signed-off-by:\|EDITME' "$m" || { fail "${m#"$top"/} is signed off by a program, or unedited"; return; }
	done
	note "$part: ${#mails[@]} mails to $({ header To "$cover"; header Cc "$cover"; } | tr , '\n' | grep -c @) addresses, $((SECONDS - start)) s"
}

# posts PART...
posts() {
	local part head start bad=0
	need_series || return
	head=$(linux_git rev-parse HEAD)
	expect_failure "there is no part 'nonsense'.*" env PART=nonsense scripts/post || return
	grep -q "$(series_parts | paste -sd' ')" "$tmp/expect.log" || { fail "the error does not list the parts"; return; }
	for part; do
		start=$SECONDS
		PART=$part scripts/post || { fail "make post PART=$part"; return; }
		check "$part" || bad=1
		# It comes from the part alone, and applies where it says.
		git -C "$out/$part.git" diff --quiet HEAD "$(linux_git rev-list --reverse "$base..HEAD" | sed -n "$(series_patches | grep -n "^$part/" | tail -n 1 | cut -d: -f1)p")" ||
			{ fail "$part: out/$part.git is not the tree that the part ends with"; bad=1; }
		rm -rf "${out:?}/$part.git"
	done
	[ "$(linux_git rev-parse HEAD)" = "$head" ] && [ -z "$(linux_git status --porcelain | head -n 1)" ] ||
		{ fail "make post has changed linux/"; return; }
	return $bad
}
