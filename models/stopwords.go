package models

import (
	"embed"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// stopWordFiles are the stop words of languages: the English ones are scikit-learn's, the others our own.
//
//go:embed stopwords/*.txt
var stopWordFiles embed.FS

// stopWordLanguages are the languages with stop words, by their ISO 639-1 codes.
var stopWordLanguages = map[string]string{
	"en": "english", "de": "german", "fr": "french", "es": "spanish", "it": "italian", "pt": "portuguese", "nl": "dutch", "sv": "swedish",
	"da": "danish", "no": "norwegian", "pl": "polish", "ru": "russian", "tr": "turkish", "el": "greek", "id": "indonesian",
}

var stopWordSets sync.Map // name of a language -> map[string]bool, read at first use

// stopWords returns those of a language by its name or code: English for "", nil for "none".
func stopWords(language string) (map[string]bool, error) {
	name := strings.ToLower(language)
	switch full, ok := stopWordLanguages[name]; {
	case name == "none":
		return nil, nil
	case name == "":
		name = "english"
	case ok:
		name = full
	}
	if set, ok := stopWordSets.Load(name); ok {
		return set.(map[string]bool), nil
	}
	text, err := stopWordFiles.ReadFile("stopwords/" + name + ".txt")
	if err != nil {
		var known []string
		for _, l := range stopWordLanguages {
			known = append(known, l)
		}
		slices.Sort(known)
		return nil, fmt.Errorf("there are no stop words of %q; known are none, %s, and a list of your own", language, strings.Join(known, ", "))
	}
	_, words, _ := strings.Cut(string(text), "\n") // the first line says where they are from
	set := wordSet(strings.Fields(words))
	stopWordSets.Store(name, set)
	return set, nil
}

func wordSet(words []string) map[string]bool {
	set := make(map[string]bool, len(words))
	for _, w := range words {
		set[w] = true
	}
	return set
}
