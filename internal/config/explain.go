package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"gatehouse.dev/gatehouse/internal/config/strictyaml"
)

// ExplainFlag returns err, which is of parsing set, as a [Problem] with a mend.
func ExplainFlag(set *pflag.FlagSet, err error) error {
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
			flag := invalid.GetFlag()
			return &Problem{
				Where: "--" + flag.Name, What: fmt.Sprintf("%q is not of type %s", invalid.GetValue(), flag.Value.Type()),
				Mend: "see --help for the values of each flag",
			}
		}
		return &Problem{Where: "command line", What: err.Error(), Mend: "see --help for the values of each flag"}
	}
	name := unknown.GetSpecifiedName()
	var names []string
	set.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	mend := "remove it; --help lists every flag, and flags of kube-apiserver without an effect here are not accepted"
	if near := strictyaml.Nearest(name, names); near != "" {
		mend = fmt.Sprintf("did you mean --%s?", near)
	} else if s, ok := settingByField(name); ok {
		mend = fmt.Sprintf("did you mean %s?", s.dashed())
	}
	return &Problem{Where: "--" + name, What: "there is no such flag", Mend: mend}
}

// settingByField returns the setting with a flag whose field has the given name.
func settingByField(name string) (setting, bool) {
	for _, s := range Default().settings() {
		if s.flag != "" && (s.path == name || strings.HasSuffix(s.path, "."+name)) {
			return s, true
		}
	}
	return setting{}, false
}
