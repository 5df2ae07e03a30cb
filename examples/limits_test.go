package examples_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// bytesOf reads a size as Redis ("1400mb"), Compose ("2g") and Kubernetes ("2Gi") write it: all count in powers of 1024.
func bytesOf(t *testing.T, size string) float64 {
	t.Helper()
	digits := strings.TrimRight(strings.ToLower(size), "kmgib")
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || len(digits) == len(size) {
		t.Fatalf("%q is not a size with a unit", size)
	}
	return n * map[byte]float64{'k': 1 << 10, 'm': 1 << 20, 'g': 1 << 30}[strings.ToLower(size)[len(digits)]]
}

// Redis refuses writes before the kernel kills it: its maxmemory leaves a third of the limit for a rewrite of the file (examples/scale.md).
func TestRedisRefusesBeforeItIsKilled(t *testing.T) {
	compose := document[struct {
		Services map[string]struct {
			Command  []string `yaml:"command"`
			MemLimit string   `yaml:"mem_limit"`
		} `yaml:"services"`
	}](t, "compose.yaml", false).Services["redis"]
	type pod struct {
		Spec struct {
			Template struct {
				Spec struct {
					Containers []struct {
						Args      []string `yaml:"args"`
						Resources struct {
							Limits struct {
								Memory string `yaml:"memory"`
							} `yaml:"limits"`
						} `yaml:"resources"`
					} `yaml:"containers"`
				} `yaml:"spec"`
			} `yaml:"template"`
		} `yaml:"spec"`
	}
	kubernetes := documents[pod](t, "kubernetes/redis.yaml", false)[0].Spec.Template.Spec.Containers[0]
	for where, c := range map[string]struct {
		args  []string
		limit string
	}{"compose.yaml": {compose.Command, compose.MemLimit}, "kubernetes": {kubernetes.Args, kubernetes.Resources.Limits.Memory}} {
		i := slices.Index(c.args, "--maxmemory")
		if i < 0 || i+1 >= len(c.args) {
			t.Errorf("%s: redis-server runs without --maxmemory: %q", where, c.args)
			continue
		}
		if part := bytesOf(t, c.args[i+1]) / bytesOf(t, c.limit); part < 0.6 || part > 0.75 {
			t.Errorf("%s: maxmemory %s is %.0f %% of the limit of %s", where, c.args[i+1], 100*part, c.limit)
		}
	}
}

// A pod that ends waits until nothing is sent to it any more, and still has the 10 s for what is in flight (docs/api.md 1) within its grace period.
// The Ingress names the class that its annotations are for.
func TestKubernetesStopsAndClass(t *testing.T) {
	pod := documents[struct {
		Spec struct {
			Template struct {
				Spec struct {
					Grace      int `yaml:"terminationGracePeriodSeconds"`
					Containers []struct {
						Lifecycle struct {
							PreStop struct {
								Sleep struct {
									Seconds int `yaml:"seconds"`
								} `yaml:"sleep"`
							} `yaml:"preStop"`
						} `yaml:"lifecycle"`
					} `yaml:"containers"`
				} `yaml:"spec"`
			} `yaml:"template"`
		} `yaml:"spec"`
	}](t, "kubernetes/deployment.yaml", false)[0].Spec.Template.Spec
	if wait := pod.Containers[0].Lifecycle.PreStop.Sleep.Seconds; wait == 0 || wait+10 >= pod.Grace {
		t.Errorf("a pod waits %d s before it stops, and then has 10 s of a grace period of %d", wait, pod.Grace)
	}
	ingress := document[struct {
		Metadata struct {
			Annotations map[string]string `yaml:"annotations"`
		} `yaml:"metadata"`
		Spec struct {
			Class string `yaml:"ingressClassName"`
		} `yaml:"spec"`
	}](t, "kubernetes/ingress.yaml", false)
	for name := range ingress.Metadata.Annotations {
		if class, _, _ := strings.Cut(name, "."); class != ingress.Spec.Class {
			t.Errorf("the annotation %s is not for the class %q", name, ingress.Spec.Class)
		}
	}
}
