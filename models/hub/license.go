package hub

import (
	"fmt"
	"strings"
)

// maxLicenseBytes bounds what a model card may call its licence.
const maxLicenseBytes = 100

// licenseOf reads the licence of a model card's metadata: license, of "other" license_name, or the tag license:.
func licenseOf(card any, tags []string) string {
	fields, _ := card.(map[string]any)
	license := ""
	switch l := fields["license"].(type) {
	case string:
		license = l
	case []any:
		var all []string
		for _, one := range l {
			all = append(all, fmt.Sprint(one))
		}
		license = strings.Join(all, ", ")
	}
	if name, ok := fields["license_name"].(string); ok && license == "other" && name != "" {
		license = name
	}
	for _, tag := range tags {
		if name, ok := strings.CutPrefix(tag, "license:"); ok && license == "" {
			license = name
		}
	}
	license = strings.ToValidUTF8(license[:min(len(license), maxLicenseBytes)], "")
	return strings.Join(strings.Fields(license), " ")
}

// Caution says what to mind of a licence: that it forbids commercial use, or that it is not known. "" for one that does
// neither.
func Caution(license string) string {
	l := strings.ToLower(license)
	switch {
	case l == "" || l == "unknown":
		return "the model card states no licence: read it before the model is used"
	case l == "other":
		return "the model card states a licence of its own: read it before the model is used"
	}
	words := "-" + strings.NewReplacer(" ", "-", "_", "-", ",", "-").Replace(l) + "-"
	for _, mark := range []string{"-nc-", "noncommercial", "non-commercial", "-research-", "-academic-"} {
		if strings.Contains(words, mark) {
			return "the licence " + license + " forbids commercial use"
		}
	}
	return ""
}
