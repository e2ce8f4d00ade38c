// Package emoji writes emoji as their names, as Python's emoji package does: models that were trained on names have to be
// given the same ones. Names change with the versions of Unicode, so each function says whose it gives.
package emoji

import (
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/forPelevin/gomoji"
)

// Code points that are no emoji but belong to them.
const (
	joiner   = '\u200d'
	textLook = '\ufe0e' // variation selectors
	picture  = '\ufe0f'
)

// named is a CLDR name behind the version of Unicode's emoji that brought it; entries without a version are no emoji of Unicode.
var named = regexp.MustCompile(`^E(\d+\.\d) (.+)$`)

// spelled is how Python's package spells a CLDR name.
var spelled = strings.NewReplacer("flag: ", "", " - ", "-", ": ", "_", ", ", "_", " ", "_", "“", "", "”", "")

// tones and hair are parts of emoji that have names of their own, and no version in the module.
var (
	tones = map[rune]string{'\U0001f3fb': "light", '\U0001f3fc': "medium-light", '\U0001f3fd': "medium", '\U0001f3fe': "medium-dark", '\U0001f3ff': "dark"}
	hair  = map[rune]string{'\U0001f9b0': "red_hair", '\U0001f9b1': "curly_hair", '\U0001f9b2': "bald", '\U0001f9b3': "white_hair"}
)

// all calls f with each emoji of Unicode 15.0, its name and the version that brought it; parts of emoji are of version 0.
func all(f func(text, name string, version float64)) {
	for _, e := range gomoji.AllEmojis() {
		m := named.FindStringSubmatch(e.UnicodeName)
		if m == nil {
			continue
		}
		version, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			continue
		}
		f(e.Character, spelled.Replace(m[2]), version)
	}
	for r, name := range tones {
		f(string(r), name+"_skin_tone", 0)
	}
	for r, name := range hair {
		f(string(r), name, 0)
	}
	f("❤\ufe0f", "red_heart", 0) // which the module has without its selector only
}

// lastOfOld is the version of Unicode's emoji that emoji 0.6.0 knows.
const lastOfOld = 12.0

// oldNames are those of emoji 0.6.0 for characters that Unicode or that package has named anew since.
const oldNames = `🧑 adult ☑ ballot_box_with_check 🐻 bear_face 🧔 bearded_person 👱 blond-haired_person 👰 bride_with_veil
	😹 cat_face_with_tears_of_joy 😼 cat_face_with_wry_smile 😿 crying_cat_face 🎯 direct_hit 😵 dizzy_face ❗ exclamation_mark
	🦊 fox_face 🐸 frog_face 😺 grinning_cat_face 😸 grinning_cat_face_with_smiling_eyes 🐹 hamster_face ✔ heavy_check_mark
	➗ heavy_division_sign ❣ heavy_heart_exclamation ⭕ heavy_large_circle ➖ heavy_minus_sign ✖ heavy_multiplication_x
	➕ heavy_plus_sign 🤗 hugging_face 🧩 jigsaw 😽 kissing_cat_face 💻 laptop_computer 🦁 lion_face
	👫 man_and_woman_holding_hands 🕴 man_in_suit_levitating 🤵 man_in_tuxedo 👲 man_with_Chinese_cap 🧓 older_adult 🐼 panda_face
	🔫 pistol 😾 pouting_cat_face 😡 pouting_face 🦯 probing_cane ❓ question_mark 🤖 robot_face 🎒 school_backpack
	😻 smiling_cat_face_with_heart-eyes 🥰 smiling_face_with_3_hearts 👬 two_men_holding_hands 👭 two_women_holding_hands
	🦄 unicorn_face 🙀 weary_cat_face ✅ white_heavy_check_mark ⭐ white_medium_star 🐺 wolf_face 💤 zzz
	🏼 medium_light_skin_tone 🏾 medium_dark_skin_tone`

// shintoShrine is the one emoji that emoji 0.6.0 lacks.
const shintoShrine = '⛩'

// oldCharacters are the names of emoji 0.6.0 for emoji of one character.
var oldCharacters = sync.OnceValue(func() map[rune]string {
	names := map[rune]string{}
	all(func(text, name string, version float64) {
		if r := []rune(text); len(r) == 1 && version <= lastOfOld && r[0] != shintoShrine {
			names[r[0]] = name
		}
	})
	for letter := 'a'; letter <= 'z'; letter++ {
		names['\U0001f1e6'+letter-'a'] = "regional_indicator_symbol_letter_" + string(letter)
	}
	fields := strings.Fields(oldNames)
	for i := 0; i < len(fields); i += 2 {
		names[[]rune(fields[i])[0]] = fields[i+1]
	}
	return names
})

// OldName returns the name that emoji 0.6.0 has for an emoji of one character, without colons.
func OldName(r rune) (name string, ok bool) {
	name, ok = oldCharacters()[r]
	return name, ok
}

// node is one of a trie over the characters of emoji.
type node struct {
	name string // of the emoji that ends here, "" for none
	next map[rune]*node
}

// tree is the trie of all emoji.
var tree = sync.OnceValue(func() *node {
	root := &node{next: map[rune]*node{}}
	all(func(text, name string, _ float64) {
		at := root
		for _, r := range text {
			if at.next[r] == nil {
				at.next[r] = &node{next: map[rune]*node{}}
			}
			at = at.next[r]
		}
		at.name = name
	})
	return root
})

// piece is a part of a text: an emoji, or a character that is none.
type piece struct {
	from, to int    // runes
	name     string // of an emoji
}

// Demojize writes each emoji as its name between marks, as emoji 2.8.0 (Unicode 15.0) does in English. Variation selectors
// that belong to no emoji are left out.
func Demojize(text, mark string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return r == textLook || r == picture || tree().next[r] != nil }) {
		return text
	}
	s := scanner{runes: []rune(text), apart: map[int]bool{}}
	s.scan()
	var out strings.Builder
	for _, p := range append(s.done, s.open...) {
		if p.name == "" {
			out.WriteString(string(s.runes[p.from:p.to]))
			continue
		}
		out.WriteString(mark + p.name + mark)
	}
	return out.String()
}

// scanner finds emoji. The trie is followed as far as it goes; where that ends inside a sequence of joined emoji, and the
// next character is a joiner, it goes back and takes them apart there.
type scanner struct {
	runes []rune
	apart map[int]bool // places of joiners at which a sequence was taken apart
	done  []piece
	open  []piece // of the sequence at hand
}

func (s *scanner) scan() {
	for at := 0; at < len(s.runes); {
		r := s.runes[at]
		first := tree().next[r]
		switch {
		case s.apart[at]:
			s.open = append(s.open, piece{from: at, to: at + 1})
			at++
			continue
		case first != nil:
			if end, name := s.longest(at, first); name != "" {
				s.open = append(s.open, piece{at, end, name})
				at = end
				continue
			}
		case r == joiner && s.joins(at):
			s.apart[at] = true
			at = s.back(at)
			continue
		default:
			s.done, s.open = append(s.done, s.open...), s.open[:0]
		}
		if r != textLook && r != picture {
			s.open = append(s.open, piece{from: at, to: at + 1})
		}
		at++
	}
}

// longest follows the trie from a character on; the name is "" where it ends in none.
func (s *scanner) longest(at int, n *node) (end int, name string) {
	for end = at + 1; end < len(s.runes) && !s.apart[end] && n.next[s.runes[end]] != nil; end++ {
		n = n.next[s.runes[end]]
	}
	return end, n.name
}

// joins tells whether the joiner stands behind an emoji.
func (s *scanner) joins(at int) bool {
	if len(s.open) == 0 || at == 0 || tree().next[s.runes[at-1]] == nil {
		return false
	}
	return s.find(s.open[len(s.open)-1]) != ""
}

// find returns the name of the emoji that a piece is, taken for one or not.
func (s *scanner) find(p piece) string {
	n := tree()
	for _, r := range s.runes[p.from:p.to] {
		if n = n.next[r]; n == nil {
			return ""
		}
	}
	return n.name
}

// back forgets the emoji before a joiner, and what belongs to it, and returns where it begins.
func (s *scanner) back(at int) int {
	last := s.open[len(s.open)-1]
	size := last.to - last.from
	if size > 1 || tones[s.runes[last.from]] == "" && hair[s.runes[last.from]] == "" {
		s.open = s.open[:len(s.open)-1]
		return at - size
	}
	if len(s.open) > 1 { // a tone or hair, with what stands before it
		before := s.open[len(s.open)-2]
		size += before.to - before.from
	}
	at -= size
	if s.runes[at] == joiner {
		s.open = s.open[:len(s.open)-1]
		return at + 1
	}
	s.open = s.open[:max(0, len(s.open)-2)]
	return at
}
