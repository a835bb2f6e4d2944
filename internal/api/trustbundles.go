package api

import (
	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"

	"gatehouse.dev/gatehouse/internal/api/columns"
	"gatehouse.dev/gatehouse/internal/api/validation/certificates"
)

func trustBundles() entry {
	return &kind[*certificatesv1.ClusterTrustBundle]{
		gv: certificatesv1.SchemeGroupVersion, name: "ClusterTrustBundle",
		resource: "clustertrustbundles", singular: "clustertrustbundle",
		versioned: true, table: columns.ClusterTrustBundle(),
		new:     func() *certificatesv1.ClusterTrustBundle { return &certificatesv1.ClusterTrustBundle{} },
		newList: func() runtime.Object { return &certificatesv1.ClusterTrustBundleList{} },
		fields: func(b *certificatesv1.ClusterTrustBundle) fields.Set {
			return fields.Set{"spec.signerName": b.Spec.SignerName}
		},
		rules: rules[*certificatesv1.ClusterTrustBundle]{
			validate: certificates.ValidateClusterTrustBundle, validateUpdate: certificates.ValidateClusterTrustBundleUpdate,
		},
	}
}
