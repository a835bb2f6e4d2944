package server

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// trustConfigMap is where extension API servers look for which client
// certificates, and which authenticating proxies, to trust (k8s.io/apiserver
// pkg/server/options/authentication.go).
const trustConfigMap = "extension-apiserver-authentication"

// trustRetry is how long to wait before what could not be written is tried
// again.
const trustRetry = 30 * time.Second

// keepTrust publishes the files of CAs again whenever one has changed, until ctx
// is done.
func (b *bootstrap) keepTrust(ctx context.Context, changed <-chan struct{}) {
	var retry <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-retry:
		}
		retry = nil
		if err := b.publishTrust(ctx); err != nil && ctx.Err() == nil {
			b.log.Error("publishing the CAs of clients; trying again", "after", trustRetry, "err", err)
			retry = time.After(trustRetry)
		}
	}
}

// publishTrust writes the ConfigMap unless it is as it should be. What others
// keep in it stays.
func (b *bootstrap) publishTrust(ctx context.Context) error {
	trust, err := b.trust()
	if err != nil || len(trust) == 0 {
		return err
	}
	for range bootstrapTries {
		cm, err := b.objects.configMaps.Get(ctx, metav1.NamespaceSystem, trustConfigMap)
		switch {
		case apierrors.IsNotFound(err):
			_, err = b.objects.configMaps.Create(ctx, &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: trustConfigMap},
				Data:       trust,
			})
		case err == nil:
			cm = cm.DeepCopy()
			if !update(cm, trust) {
				return nil
			}
			_, err = b.objects.configMaps.Update(ctx, cm)
		}
		if err == nil || !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return fmt.Errorf("publishing %s: other processes keep changing it", trustConfigMap)
}

// update puts data into cm, and reports whether that changed anything. What it
// says about proxies is removed where none is trusted any more.
func update(cm *corev1.ConfigMap, data map[string]string) (changed bool) {
	if cm.Data == nil {
		cm.Data = map[string]string{}
	}
	for key := range cm.Data {
		if _, ok := data[key]; !ok && strings.HasPrefix(key, "requestheader-") {
			delete(cm.Data, key)
			changed = true
		}
	}
	for key, value := range data {
		if old, ok := cm.Data[key]; !ok || old != value {
			cm.Data[key], changed = value, true
		}
	}
	return changed
}

// trust is what the ConfigMap says, by Kubernetes' keys.
func (b *bootstrap) trust() (map[string]string, error) {
	trust := map[string]string{}
	clients, err := concatenated(b.clientCAs)
	if err != nil {
		return nil, fmt.Errorf("reading client CA: %w", err)
	}
	if clients != "" {
		trust["client-ca-file"] = clients
	}
	h := b.proxies
	if h.ClientCAFile == "" {
		return trust, nil
	}
	if trust["requestheader-client-ca-file"], err = concatenated([]string{h.ClientCAFile}); err != nil {
		return nil, fmt.Errorf("reading the CA of authenticating proxies: %w", err)
	}
	for key, list := range map[string][]string{
		"requestheader-allowed-names":        h.AllowedNames,
		"requestheader-username-headers":     h.UsernameHeaders,
		"requestheader-uid-headers":          h.UIDHeaders,
		"requestheader-group-headers":        h.GroupHeaders,
		"requestheader-extra-headers-prefix": h.ExtraHeaderPrefixes,
	} {
		text, err := json.Marshal(append([]string{}, list...)) // an empty list is [], not null
		if err != nil {
			return nil, fmt.Errorf("encoding %s: %w", key, err)
		}
		trust[key] = string(text)
	}
	return trust, nil
}

// concatenated returns the texts of files, each ended by a line break.
func concatenated(files []string) (string, error) {
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		all.WriteString(strings.TrimSpace(string(text)) + "\n")
	}
	return all.String(), nil
}
