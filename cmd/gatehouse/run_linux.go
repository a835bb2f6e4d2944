package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation"

	"gatehouse.dev/gatehouse/internal/config"
	"gatehouse.dev/gatehouse/internal/workload/process"
	"gatehouse.dev/gatehouse/internal/workload/runner"
	"gatehouse.dev/gatehouse/internal/workload/session"
)

// Exit codes of what is wrong before the program runs, as of env and docker run.
const (
	exitFailed   = 125
	exitUnusable = 126
	exitNotFound = 127
)

// shortestInterval keeps a workload from asking for tokens all the time.
const shortestInterval = time.Second

// newRunCommands returns the command that runs a process as a workload, and the
// hidden one that it starts itself by.
func newRunCommands(stderr io.Writer) []*cobra.Command {
	cmd := &cobra.Command{
		Use:   "run --serviceaccount NAME [flags] -- COMMAND [ARG...]",
		Short: "Run a process as a workload, with the token of a service account",
		Long: `Runs a process as if it were in a Pod: it finds token, ca.crt and namespace in
/var/run/secrets/kubernetes.io/serviceaccount, and the server in KUBERNETES_SERVICE_HOST
and KUBERNETES_SERVICE_PORT. Programs that are made for clusters run as they are.

The process is registered as a Pod. Its token is bound to that, lives for ten
minutes, and is replaced before it ends. The Pod is deleted when the process has
ended, and 30 s after this command was killed, and the token is dead in that moment.

The files are in memory, in a mount namespace of the process; who is not root gets
a user namespace for that. Where neither is allowed, --token-dir names a folder.

The process gets no credentials of its caller: no descriptors but the three standard
ones, and no variables but those that every program needs and --env. The caller's
kubeconfig is empty for it. Signals and the exit code pass through; 128 and more is
the signal that ended it, 125 says that this command failed, 126 that the program
cannot be executed, and 127 that there is none.

The caller needs the ClusterRole gatehouse:workload-runner in the namespace.`,
		Example: `  gatehouse run --serviceaccount backup -n jobs -- ./backup --all
  gatehouse run --serviceaccount backup -n jobs --user nobody --env REGION -- kubectl get pods`,
	}
	f := &runFlags{stderr: stderr}
	f.add(cmd.Flags())
	cmd.Flags().SetInterspersed(false)
	cmd.Args = f.check
	cmd.RunE = f.run
	inside := &cobra.Command{
		Use: process.Stage, Hidden: true, DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error { return exitError{exitFailed, process.Inside()} },
	}
	return []*cobra.Command{cmd, inside}
}

// runFlags are what the command line says.
type runFlags struct {
	runner.Run
	stderr             io.Writer
	name, user, onLost string
	env                []string
}

func (f *runFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.Process.ServiceAccount, "serviceaccount", "", "The service account that the process is. Needed.")
	flags.StringVarP(&f.Process.Namespace, "namespace", "n", "", "The namespace of the service account. Without it, that of the context.")
	flags.StringVar(&f.Kubeconfig, "kubeconfig", "", "The kubeconfig. Without it, where kubectl looks.")
	flags.StringVar(&f.Context, "context", "", "The context in the kubeconfig. Without it, the current one.")
	flags.StringVar(&f.name, "name", "", "The name of the Pod. Without it, that of the program and something random.")
	flags.StringVar(&f.TokenDir, "token-dir", "", "A folder for token, ca.crt, namespace and a kubeconfig that leads to them, in place of the mount namespace.")
	flags.DurationVar(&f.Interval, "refresh-interval", 0, "How often there is a new token, at most 8m. Without it, when 80 % of its life are over.")
	flags.StringVar(&f.onLost, "on-lost", "terminate", "What happens to the process when its token has ended and there is no new one: terminate or continue.")
	flags.StringArrayVar(&f.env, "env", nil, "A variable for the process, as NAME=VALUE, or as NAME to pass on the caller's. May be repeated.")
	flags.StringVar(&f.user, "user", "", "The user that the process runs as, by name or number. Only root may choose one.")
}

func (f *runFlags) check(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return usage(cmd, "there is no command to run", "write it behind --, as in "+cmd.CommandPath()+" --serviceaccount NAME -- COMMAND")
	case f.Process.ServiceAccount == "":
		return usage(cmd, "--serviceaccount is not set", "name the service account that the process is")
	case f.onLost != "terminate" && f.onLost != "continue":
		return usage(cmd, fmt.Sprintf("--on-lost: there is no %q", f.onLost), "choose terminate or continue")
	case f.Interval != 0 && (f.Interval < shortestInterval || f.Interval > session.LongestInterval):
		return usage(cmd, fmt.Sprintf("--refresh-interval: %v is too short or too long", f.Interval),
			fmt.Sprintf("choose one from %v to %v", shortestInterval, session.LongestInterval))
	case f.user != "" && os.Geteuid() != 0:
		return usage(cmd, "--user is set, and the caller is not root", "leave it out, or run it as root")
	}
	for _, n := range []struct{ flag, value string }{
		{"--serviceaccount", f.Process.ServiceAccount}, {"--namespace", f.Process.Namespace}, {"--name", f.name},
	} {
		if problems := validation.IsDNS1123Subdomain(n.value); n.value != "" && len(problems) > 0 {
			return usage(cmd, fmt.Sprintf("%s: %q is no name: %s", n.flag, n.value, problems[0]), "write it as kubectl shows it")
		}
	}
	return nil
}

func (f *runFlags) run(cmd *cobra.Command, args []string) error {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return exitError{cannotStart(err), &config.Problem{Where: cmd.CommandPath(), What: err.Error(), Mend: "name a program that is in PATH, or its path"}}
	}
	as, err := f.resolveUser()
	if err != nil {
		return usage(cmd, "--user: "+err.Error(), "name one that there is")
	}
	env, err := runner.Environment(os.Environ(), f.env, as)
	if err != nil {
		return usage(cmd, "--env: "+err.Error(), "leave it out")
	}
	if f.TokenDir != "" {
		if f.TokenDir, err = filepath.Abs(f.TokenDir); err != nil {
			return exitError{exitFailed, err}
		}
	}
	f.Command.Path, f.Command.Args, f.Command.Env = path, args, env
	f.GoOn, f.Log = f.onLost == "continue", newLogger(f.stderr, 0)
	f.describe(path)
	ctx, stop := signal.NotifyContext(context.Background(), heeded(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)...)
	defer stop()
	code, err := f.Run.Run(ctx)
	if err != nil {
		return exitError{cannotStart(err), explainRun(cmd, err)}
	}
	if code != 0 {
		return exitError{code, nil}
	}
	return nil
}

// heeded leaves out the signals that this process was told to ignore, as by nohup.
func heeded(signals ...os.Signal) []os.Signal { return slices.DeleteFunc(signals, signal.Ignored) }

// describe says what the process is, without what it was told.
func (f *runFlags) describe(path string) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	f.Process.Host, f.Process.ID, f.Process.Command = host, strconv.Itoa(os.Getpid()), filepath.Base(path)
	f.Process.Name = f.name
	if f.name == "" {
		f.Process.Name = podName(f.Process.Command)
	}
}

// podName returns a name that no other process has.
func podName(command string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(command))
	name = strings.Trim(name[:min(len(name), 40)], "-")
	if name == "" {
		name = "process"
	}
	return name + "-" + strings.ToLower(rand.Text()[:10])
}

// resolveUser finds the user of --user, and what it may do.
func (f *runFlags) resolveUser() (*user.User, error) {
	if f.user == "" {
		return nil, nil
	}
	found, err := user.Lookup(f.user)
	if _, number := strconv.ParseUint(f.user, 10, 32); err != nil && number == nil {
		found, err = user.LookupId(f.user)
	}
	if err != nil {
		return nil, err
	}
	groups, err := found.GroupIds()
	if err != nil {
		return nil, err
	}
	ids := make([]uint32, 0, len(groups)+2)
	for _, text := range append([]string{found.Uid, found.Gid}, groups...) {
		id, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, err
		}
		ids = append(ids, uint32(id))
	}
	f.Command.User = &process.User{UID: ids[0], GID: ids[1], Groups: ids[2:]}
	return found, nil
}

// cannotStart returns the exit code for a program that does not run.
func cannotStart(err error) int {
	_, program := errors.AsType[*process.StartError](err)
	_, lookup := errors.AsType[*exec.Error](err)
	switch {
	case !program && !lookup:
		return exitFailed
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return exitNotFound
	}
	return exitUnusable
}

// explainRun adds to an error what can be done about it.
func explainRun(cmd *cobra.Command, err error) error {
	const right = "have the ClusterRole gatehouse:workload-runner in the namespace"
	mend := mendAsking(err, right)
	_, program := errors.AsType[*process.StartError](err)
	place, misplaced := errors.AsType[*process.PlaceError](err)
	switch {
	case program:
		mend = "see that the file is there, and is a program for this machine"
	case errors.Is(err, process.ErrNotAllowed):
		mend = "run it as root, let users have user namespaces, or use --token-dir"
	case misplaced:
		mend = "see that " + place.Mount + " is a folder or can be made one, or use --token-dir"
	case errors.Is(err, runner.ErrTokenDir):
		mend = "name a folder of your own with --token-dir, that nobody else may write to, one for each process"
	case errors.Is(err, runner.ErrWay):
		mend = "choose another with --kubeconfig or --context: https://HOST:PORT without a path, a proxy or another name in the certificate"
	case apierrors.IsAlreadyExists(err):
		mend = "choose another --name; one that was killed frees its name 30 s later"
	case apierrors.IsForbidden(err), apierrors.IsNotFound(err):
		mend = "see that the caller has the ClusterRole gatehouse:workload-runner in the namespace, and that the service account is there"
	}
	return &config.Problem{Where: cmd.CommandPath(), What: err.Error(), Mend: mend}
}
