package models

import "strings"

// cardiffnlp is what the cards of cardiffnlp's Twitter models do first: of the words between blanks those that begin with @
// become @user, and those that begin with http become http.
func cardiffnlp(text string) string {
	if strings.IndexByte(text, '@') < 0 && !strings.Contains(text, "http") {
		return text
	}
	words := strings.Split(text, " ")
	for i, w := range words {
		switch {
		case len(w) > 1 && w[0] == '@':
			words[i] = "@user"
		case strings.HasPrefix(w, "http"):
			words[i] = "http"
		}
	}
	return strings.Join(words, " ")
}

// tweetTopic is how the data set of cardiffnlp's tweet-topic was written: {{URL}} for links, up to the next blank, and
// {{USERNAME}} for @names. Of accounts that were verified then it kept the name, as {@name@}; no text says which are.
func tweetTopic(text string) string {
	text = replaceLinks(text, "{{URL}}")
	if strings.IndexByte(text, '@') >= 0 {
		text = replaceNames(text, "{{USERNAME}}")
	}
	return text
}

// hubPreprocessing is how models of the hub want their texts where their files do not say it, by the beginning of the name.
var hubPreprocessing = map[string]string{
	"cardiffnlp/twitter-":      "cardiffnlp",
	"cardiffnlp/tweet-topic-":  "tweet-topic",
	"finiteautomata/bertweet-": "pysentimiento",
}

// preprocessOf returns the preprocessing of a source of the hub, "" for none.
func preprocessOf(source string) string {
	name, ok := strings.CutPrefix(source, hubPrefix)
	for prefix, preprocess := range hubPreprocessing {
		if ok && strings.HasPrefix(strings.ToLower(name), prefix) {
			return preprocess
		}
	}
	return ""
}
