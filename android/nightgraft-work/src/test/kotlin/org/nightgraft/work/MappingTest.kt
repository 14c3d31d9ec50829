package org.nightgraft.work

import android.content.pm.ServiceInfo
import java.io.File
import javax.xml.parsers.DocumentBuilderFactory
import kotlin.time.Duration.Companion.hours
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.nightgraft.Phase
import org.nightgraft.WaitKind
import org.w3c.dom.Element

/** What WorkManager keeps of us, what the notification shows, and what the manifest has to have. */
internal class MappingTest {
    @Test
    fun `an order is the same in a later process`() {
        val conditions = NightConditions(charging = false, idle = false, batteryNotLow = false, storageNotLow = false, pause = 3.hours)
        val night = WorkOrder.of(WorkOrder.Night(conditions).toMap()) as WorkOrder.Night
        night.conditions.run { assertEquals(listOf(false, false, false, false), listOf(charging, idle, batteryNotLow, storageNotLow)) }
        assertEquals(3.hours, night.conditions.pause)
        assertEquals(7, (WorkOrder.of(WorkOrder.Now(serviceType = 7).toMap()) as WorkOrder.Now).serviceType)
        // Work that somebody has enqueued without us.
        assertTrue((WorkOrder.of(emptyMap()) as WorkOrder.Night).conditions.charging)
    }

    @Test
    fun `a screen hears how far it is`() {
        val told = WorkProgress.of(WorkProgress(Phase.WAITING, 3, 10, WaitKind.TOO_WARM).toMap())
        assertEquals(listOf(Phase.WAITING, 3L, 10L, WaitKind.TOO_WARM), told?.run { listOf(phase, step, totalSteps, waitingFor) })
        assertNull(WorkProgress.of(WorkProgress(progress(step = 4)).toMap())?.waitingFor)
        assertNull(WorkProgress.of(emptyMap()), "before the first step")
    }

    @Test
    fun `the bar moves by steps, and by itself while there are none`() {
        NoticeBar.of(progress(step = 7, totalSteps = 90)).run { assertEquals(Triple(90, 7, false), Triple(max, done, isIndeterminate)) }
        NoticeBar.of(progress(step = 99, totalSteps = 90)).run { assertEquals(90, done) }
        NoticeBar.of(progress(step = 5L shl 40, totalSteps = 6L shl 40)).run { assertEquals(Int.MAX_VALUE, max) }
        assertTrue(NoticeBar.of(progress(step = 0, totalSteps = 0)).isIndeterminate)
        assertTrue(NoticeBar.of(null).isIndeterminate)
    }

    @Test
    fun `a type that the manifest does not give is an error that names the lines`() {
        val wanted = ServiceInfo.FOREGROUND_SERVICE_TYPE_DATA_SYNC
        requireServiceType(wanted, declared = wanted or ServiceInfo.FOREGROUND_SERVICE_TYPE_LOCATION)
        requireServiceType(wanted, declared = null)
        for (declared in listOf(0, ServiceInfo.FOREGROUND_SERVICE_TYPE_SPECIAL_USE)) {
            val error = assertThrows<IllegalStateException> { requireServiceType(wanted, declared) }
            assertTrue("$SERVICE the foregroundServiceType dataSync" in error.message.orEmpty(), error.message)
        }
    }

    @Test
    fun `the README's manifest has what the system asks for`() {
        val lines = File("README.md").readText().substringAfter("```xml\n").substringBefore("```")
        val namespaces = listOf("android", "tools").joinToString(" ") { "xmlns:$it=\"http://schemas.android.com/$it\"" }
        val manifest =
            DocumentBuilderFactory.newInstance().newDocumentBuilder().parse("<manifest $namespaces>$lines</manifest>".byteInputStream())
        fun elements(tag: String) = manifest.getElementsByTagName(tag).let { all -> List(all.length) { all.item(it) as Element } }
        assertEquals(
            setOf("FOREGROUND_SERVICE", "FOREGROUND_SERVICE_DATA_SYNC", "POST_NOTIFICATIONS").map { "android.permission.$it" },
            elements("uses-permission").map { it.getAttribute("android:name") },
        )
        val service = elements("service").single()
        assertEquals(listOf(SERVICE, "dataSync", "merge"), listOf("android:name", "android:foregroundServiceType", "tools:node").map(service::getAttribute))
    }
}
