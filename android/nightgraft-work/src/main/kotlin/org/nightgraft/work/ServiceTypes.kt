package org.nightgraft.work

import android.content.ComponentName
import android.content.Context
import android.content.pm.ServiceInfo
import android.os.Build

/** The service in which WorkManager runs what goes on in the foreground. */
internal const val SERVICE = "androidx.work.impl.foreground.SystemForegroundService"

/** The types that the app's manifest gives WorkManager's service; null where services have none. */
internal fun declaredServiceTypes(context: Context): Int? {
    if (Build.VERSION.SDK_INT < Build.VERSION_CODES.Q) return null
    return context.packageManager.getServiceInfo(ComponentName(context, SERVICE), 0).foregroundServiceType
}

/** Makes sure that the manifest has this type: without it the system would end the app, in the middle of WorkManager's code. */
internal fun requireServiceType(wanted: Int, declared: Int?) {
    check(declared == null || declared and wanted == wanted) {
        "AndroidManifest.xml has to give $SERVICE the foregroundServiceType ${name(wanted)}; " +
            "the README of nightgraft-work has the lines"
    }
}

private fun name(type: Int): String =
    when (type) {
        ServiceInfo.FOREGROUND_SERVICE_TYPE_DATA_SYNC -> "dataSync"
        ServiceInfo.FOREGROUND_SERVICE_TYPE_SPECIAL_USE -> "specialUse"
        else -> "0x${type.toString(radix = 16)}"
    }
