package config

import (
	"fmt"
	"net"
	"reflect"
	"strings"

	"gatehouse.dev/gatehouse/internal/config/strictyaml"
)

// A setting is one leaf of a configuration.
type setting struct {
	path  string // in the file, such as "serving.securePort"
	flag  string // without dashes, or "" for what only a file can say
	array bool   // the flag is repeated, and not split at commas
	use   string // what the path is for: "read", "make" or "" if it is none
	doc   string // the key of its text in the comments
	value reflect.Value
}

// settings returns the settings of c, in the order of its fields. Their values
// are those of c, and setting them sets c.
func (c *Configuration) settings() []setting {
	return appendSettings(nil, reflect.ValueOf(c).Elem(), nil)
}

func appendSettings(all []setting, v reflect.Value, above []string) []setting {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if !field.IsExported() {
			continue
		}
		path := append(above[:len(above):len(above)], strictyaml.FieldName(field))
		if field.Type.Kind() == reflect.Struct {
			all = appendSettings(all, v.Field(i), path)
			continue
		}
		flag, option, _ := strings.Cut(field.Tag.Get("flag"), ",")
		if before, after, starred := strings.Cut(flag, "*"); starred {
			// audit.log.batch.maxSize is audit-*-batch-max-size of log.
			flag = before + path[1] + after
		}
		all = append(all, setting{
			path:  strings.Join(path, "."),
			flag:  flag,
			array: option == "array",
			use:   field.Tag.Get("path"),
			doc:   v.Type().Name() + "." + field.Name,
			value: v.Field(i),
		})
	}
	return all
}

// field returns the pointer to the field of the configuration.
func (s setting) field() any { return s.value.Addr().Interface() }

// name returns how a reader can find the setting in a file and among flags.
func (s setting) name() string {
	if s.flag == "" {
		return s.path
	}
	return s.path + " (" + s.dashed() + ")"
}

func (s setting) dashed() string {
	if len(s.flag) == 1 {
		return "-" + s.flag
	}
	return "--" + s.flag
}

// paths returns the places of all paths in the value of a setting of paths.
func (s setting) paths() []*string {
	switch v := s.field().(type) {
	case *string:
		return []*string{v}
	case *[]string:
		var all []*string
		for i := range *v {
			all = append(all, &(*v)[i])
		}
		return all
	case *[]NamedCertificate:
		var all []*string
		for i := range *v {
			all = append(all, &(*v)[i].CertFile, &(*v)[i].KeyFile)
		}
		return all
	case *[]Signer:
		var all []*string
		for i := range *v {
			all = append(all, &(*v)[i].CertFile, &(*v)[i].KeyFile)
		}
		return all
	}
	panic("internal error: " + s.path + " is marked as a path and is none")
}

// text returns the value as the reference writes it.
func (s setting) text() string {
	switch v := s.field().(type) {
	case *string:
		if *v != "" {
			return *v
		}
	case *[]string:
		if len(*v) > 0 {
			return strings.Join(*v, ",")
		}
	case *[]NamedCertificate:
		if len(*v) > 0 {
			return fmt.Sprint(*v)
		}
	case *[]WebhookClient, *[]Signer:
		// Only a file can say any, and none is the default.
	default:
		return fmt.Sprint(s.value.Interface())
	}
	return "none"
}

// kind returns what sort of value the setting takes, in a reader's words.
func (s setting) kind() string {
	switch s.field().(type) {
	case *string:
		return "string"
	case *bool:
		return "true or false"
	case *int, *int64:
		return "whole number"
	case *float32:
		return "number"
	case *Duration:
		return "duration"
	case *net.IP:
		return "IP address"
	case *[]string:
		return "list of strings"
	case *[]NamedCertificate:
		return "list of certificates"
	case *[]WebhookClient:
		return "list of clients"
	case *[]Signer:
		return "list of signers"
	}
	panic("internal error: " + s.path + " has a type that no setting may have")
}
